// SPDX-License-Identifier: BSL-1.0
// Runs each program of the root directory whose name ends with .probe, with this program's
// arguments. A kernel boots once for many programs so. Prints "PROBE name" before each program and
// "PROBE-EXIT status" behind it; the status of a program that a signal ended is 128 and the signal.
#include <dirent.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <set>
#include <string>

int main(int, char** argv) {
  std::set<std::string> names;
  DIR* const root = ::opendir("/");
  if (!root) return 1;
  while (const dirent* const entry = ::readdir(root)) {
    const std::string name = entry->d_name;
    if (name.ends_with(".probe")) names.insert(name);
  }
  ::closedir(root);
  for (const std::string& name : names) {
    std::printf("PROBE %s\n", name.substr(0, name.size() - 6).c_str());
    std::fflush(stdout);
    const pid_t child = ::fork();
    if (child == 0) {
      ::execv(("/" + name).c_str(), argv);
      ::_exit(127);
    }
    int status = 0;
    if (child < 0 || ::waitpid(child, &status, 0) < 0) return 1;
    std::printf("PROBE-EXIT %d\n",
                WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    std::fflush(stdout);
  }
  return 0;
}
