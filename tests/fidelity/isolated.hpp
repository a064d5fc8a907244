// Probes in a process of their own, so that one that hangs or breaks a GPU's context costs its own
// answer and nothing else.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "tests/fidelity/probe.hpp"

namespace kiln::test {

struct Outcome {
  std::vector<u8> answer;
  std::string error;  // empty if there is an answer
};

/// Runs the probes in order in a child process, on the backend that `backend` returns there. A
/// child that ends, or says nothing for `patience`, has failed the probe that it was at; another
/// child goes on with the next. A probe that throws fails too, and a child is ended after it: an
/// error of a GPU may stay in its context. The caller must not have used CUDA before.
std::vector<Outcome> run_isolated(const std::vector<Probe>& probes,
                                  const std::function<Backend&()>& backend,
                                  std::chrono::seconds patience,
                                  const std::function<void(const Probe&, const Outcome&)>& done);

}  // namespace kiln::test
