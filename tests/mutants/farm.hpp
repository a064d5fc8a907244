// Trials in processes of their own, several at a time: a mutant may write anywhere, or never end.
#pragma once

#include <functional>
#include <memory>
#include <span>

#include "tests/mutants/trial.hpp"

namespace kiln::test {

/// Reports in memory that children share.
class SharedReports {
 public:
  explicit SharedReports(std::size_t count);
  ~SharedReports();
  SharedReports(const SharedReports&) = delete;
  SharedReports& operator=(const SharedReports&) = delete;
  std::size_t size() const { return count_; }
  Reports& operator[](std::size_t i) { return reports_[i]; }

 private:
  Reports* reports_;
  std::size_t count_;
};

/// Runs task(i, reports[i]) for every i, each in a forked child, `jobs` at a time. A
/// child that crashes or takes too long is a finding. `done(i)` is called here as children end.
void run_in_children(int jobs, SharedReports& reports,
                     const std::function<void(std::size_t, Reports&)>& task,
                     const std::function<void(std::size_t)>& done);

}  // namespace kiln::test
