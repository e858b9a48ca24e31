// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Prints the outcomes as a table or as JSON.

#include <cstdio>
#include <optional>
#include <string>
#include <vector>

namespace compare {

/// The answers of one call. Without a kernel, the kernel's answer is missing.
struct outcome {
  std::string section;
  std::string call;
  std::optional<std::string> kernel;
  std::string model;
  [[nodiscard]] bool compared() const { return kernel.has_value(); }
  [[nodiscard]] bool agrees() const { return !kernel || *kernel == model; }
};

/// The kernel and the model of the run.
struct setting {
  std::string kernel;  ///< its release; empty: no kernel
  std::string profile;
};

struct totals {
  int compared = 0;
  int differing = 0;
};

inline totals count(const std::vector<outcome>& outcomes) {
  totals t;
  for (const outcome& o : outcomes) {
    t.compared += o.compared();
    t.differing += !o.agrees();
  }
  return t;
}

inline void print_table(const setting& where, const std::vector<outcome>& outcomes) {
  std::printf("kernel: %s, model: %s\n", where.kernel.empty() ? "none" : where.kernel.c_str(),
              where.profile.c_str());
  std::string section;
  for (const outcome& o : outcomes) {
    if (o.section != section) {
      section = o.section;
      std::printf("\n%-48s %-26s %-26s %s\n", section.c_str(), "kernel", "model", "verdict");
    }
    std::printf("  %-46s %-26s %-26s %s\n", o.call.c_str(), o.kernel.value_or("-").c_str(),
                o.model.c_str(),
                !o.compared() ? "not compared"
                : o.agrees()  ? "equal"
                              : "DIFFERS");
  }
  const totals t = count(outcomes);
  if (where.kernel.empty()) std::printf("\n%zu calls on the model alone\n", outcomes.size());
  else std::printf("\n%d calls compared, %d differ\n", t.compared, t.differing);
}

inline std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    char escaped[8];
    if (c == '"' || c == '\\') std::snprintf(escaped, sizeof escaped, "\\%c", c);
    else if (static_cast<unsigned char>(c) < 0x20)
      std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(c));
    else std::snprintf(escaped, sizeof escaped, "%c", c);
    out += escaped;
  }
  return out + '"';
}

inline void print_json(const setting& where, const std::vector<outcome>& outcomes) {
  std::printf("{\n  \"kernel\": %s,\n  \"profile\": %s,\n  \"rows\": [\n",
              where.kernel.empty() ? "null" : quoted(where.kernel).c_str(),
              quoted(where.profile).c_str());
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    const outcome& o = outcomes[i];
    std::printf(
        "    {\"section\": %s, \"call\": %s, \"kernel\": %s, \"model\": %s, \"equal\": %s}%s\n",
        quoted(o.section).c_str(), quoted(o.call).c_str(),
        o.kernel ? quoted(*o.kernel).c_str() : "null", quoted(o.model).c_str(),
        !o.compared() ? "null"
        : o.agrees()  ? "true"
                      : "false",
        i + 1 < outcomes.size() ? "," : "");
  }
  const totals t = count(outcomes);
  std::printf("  ],\n  \"compared\": %d,\n  \"differing\": %d\n}\n", t.compared, t.differing);
}

}  // namespace compare
