// SPDX-License-Identifier: BSL-1.0
// selftests-probe BDF...: runs the programs /vfio_*_test of a booted kernel one after the other,
// once for each device. Prints "SELFTEST program device" before the output of a program, and
// "SELFTEST-EXIT status" after it.
#include <dirent.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

int main(int argc, char** argv) {
  std::vector<std::string> programs;
  DIR* const folder = opendir("/");
  if (folder == nullptr) return 1;
  while (const dirent* const entry = readdir(folder)) {
    const std::string name = entry->d_name;
    if (name.starts_with("vfio_") && name.ends_with("_test")) programs.push_back(name);
  }
  closedir(folder);
  std::sort(programs.begin(), programs.end());
  for (const std::string& name : programs)
    for (int i = 1; i < argc; ++i) {
      std::printf("SELFTEST %s %s\n", name.c_str(), argv[i]);
      std::fflush(stdout);
      const pid_t child = fork();
      if (child == 0) {
        dup2(1, 2);
        execl(("/" + name).c_str(), name.c_str(), argv[i], nullptr);
        _exit(127);
      }
      int status = 0;
      waitpid(child, &status, 0);
      std::printf("\nSELFTEST-EXIT %d\n",
                  WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
      std::fflush(stdout);
    }
  return programs.empty() ? 1 : 0;
}
