// A few words for tests: named checks, of which a command line picks some, and what they expect.
#pragma once

#include <cstdio>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace exllama::test {

inline std::vector<std::pair<std::string, std::function<void()>>>& checks() {
  static std::vector<std::pair<std::string, std::function<void()>>> all;
  return all;
}

struct check_registration {
  check_registration(const char* name, void (*body)()) { checks().emplace_back(name, body); }
};

#define CHECK_THAT(name)                                                   \
  void name();                                                             \
  const ::exllama::test::check_registration name##_registration(#name, name); \
  void name()

inline void expect(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error("expected " + what);
}

// That `action` raises, and reports each of `words`.
inline void expect_error(const std::function<void()>& action,
                         const std::vector<std::string>& words) {
  std::string message;
  try {
    action();
  } catch (const std::exception& error) {
    message = error.what();
  }
  expect(!message.empty(), "an error");
  for (const auto& word : words)
    expect(message.find(word) != std::string::npos, word + " in: " + message);
}

// Runs the checks that are named, or all; `list` names them.
inline int run_checks(int count, char** words) {
  int failed = 0;
  for (const auto& [name, body] : checks()) {
    if (count > 1 && std::strcmp(words[1], "list") == 0) {
      std::printf("%s\n", name.c_str());
      continue;
    }
    bool chosen = count < 2;
    for (int i = 1; i < count; ++i) chosen |= name == words[i];
    if (!chosen) continue;
    try {
      body();
      std::printf("ok %s\n", name.c_str());
    } catch (const std::exception& error) {
      std::printf("FAILED %s: %s\n", name.c_str(), error.what());
      ++failed;
    }
  }
  return failed > 0;
}

}  // namespace exllama::test
