#include "runtime/emu/engine.hpp"

#include <algorithm>
#include <cfenv>
#include <utility>

#include "kiln/error.hpp"

namespace kiln::emu {
namespace {

/// So many questions in a row answered no, and nothing else happened in the cluster: a deadlock.
constexpr std::uint64_t kMostVainPolls = 1 << 20;

thread_local Engine* engine_of_this_thread = nullptr;

/// The arithmetic of kernels is IEEE, whatever the caller has set: to nearest, with subnormals.
/// Fibers start with the environment of the thread that starts them.
class KernelEnvironment {
 public:
  explicit KernelEnvironment(Engine* engine)
      : outer_(std::exchange(engine_of_this_thread, engine)) {
    std::fegetenv(&saved_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~KernelEnvironment() {
    std::fesetenv(&saved_);
    engine_of_this_thread = outer_;
  }
  KernelEnvironment(const KernelEnvironment&) = delete;
  KernelEnvironment& operator=(const KernelEnvironment&) = delete;

 private:
  Engine* outer_;
  std::fenv_t saved_;
};

}  // namespace

Engine* Engine::of_this_thread() { return engine_of_this_thread; }

Statistics Engine::run(const Job& job, int cluster, std::uint64_t seed, Observer* observer) {
  const KernelEnvironment environment(this);
  observer_ = observer;
  set_up(job, cluster, seed);
  run_until_exit();
  return statistics_;
}

void Engine::set_up(const Job& job, int cluster, std::uint64_t seed) {
  job_ = &job;
  schedule_ = Schedule(seed);
  statistics_ = {};
  ready_.clear();
  operations_.clear();
  pollers_.clear();
  clock_ = vain_polls_ = 0;
  current_ = nullptr;
  in_kernel_ = false;
  error_ = nullptr;
  copy_engine_.reset();
  cp_async_.reset();
  cluster_memory_.reset();

  thread_count_ = alive_ = job.shape.threads * job.shape.cluster;
  cluster_barrier_.reset(thread_count_);
  stacks_.reserve(thread_count_);
  while (static_cast<int>(threads_.size()) < thread_count_)
    threads_.push_back(std::make_unique<Thread>());
  while (static_cast<int>(ctas_.size()) < job.shape.cluster)
    ctas_.push_back(std::make_unique<Cta>(*this, static_cast<int>(ctas_.size())));
  for (int rank = 0; rank < job.shape.cluster; ++rank)
    set_up_cta(*ctas_[static_cast<std::size_t>(rank)], cluster);
}

void Engine::set_up_cta(Cta& cta, int cluster) {
  const KernelShape& shape = job_->shape;
  cta.index = cluster * shape.cluster + cta.rank;
  cta.thread_count = cta.alive = shape.threads;
  cta.loads_under_way = cta.reads_under_way = 0;
  cta.shared.start(static_cast<std::size_t>(shape.smem_bytes));
  cta.warps.assign(static_cast<std::size_t>(shape.threads) / 32, Warp());
  for (int i = 0; i < shape.threads / 32; ++i) {
    Warp& warp = cta.warps[static_cast<std::size_t>(i)];
    warp.cta = &cta;
    warp.index = i;
  }
  cta.named_barriers.reset();
  cta.mbarriers.reset();
  cta.registers.reset();
  cta.tensor_core.reset();
  for (int i = 0; i < shape.threads; ++i) {
    const int index = cta.rank * shape.threads + i;
    Thread& thread = *threads_[static_cast<std::size_t>(index)];
    thread.identity = {i, cta.index, job_->ctas, cta.rank};
    thread.index = index;
    thread.lane = i % 32;
    thread.cta = &cta;
    thread.warp = &cta.warps[static_cast<std::size_t>(i) / 32];
    thread.state = Thread::State::ready;
    thread.waiting = nullptr;
    thread.bulk.reset();
    thread.cp_async.reset();
    thread.in_cluster_barrier = false;
    thread.fiber.start(stacks_.top(index), thread_main, &thread);
    ready_.push_back(&thread);
  }
}

void Engine::run_until_exit() {
  while (alive_ > 0 || !operations_.empty()) {
    if (!pollers_.empty()) wake_pollers();
    if (!operations_.empty() && schedule_.completes_operation(ready_.size())) {
      complete_operation();
    } else if (!ready_.empty()) {
      run_thread();
    } else if (!pass_time_to_a_deadline()) {
      report_deadlock("no thread can run and no operation is pending");
    }
    ++clock_;
  }
}

void Engine::complete_operation() {
  const std::size_t pick = schedule_.pick_operation(operations_.size());
  const Operation operation = operations_[pick];
  operations_[pick] = operations_.back();
  operations_.pop_back();
  switch (operation.unit) {
    case Unit::copy_engine:
      copy_engine_.advance(operation.slot);
      break;
    case Unit::tensor_core:
      operation.cta->tensor_core.advance(operation.slot);
      break;
    case Unit::cp_async:
      cp_async_.advance(operation.slot);
      break;
    case Unit::cluster_memory:
      cluster_memory_.advance(operation.slot);
      break;
  }
}

void Engine::run_thread() {
  const std::size_t pick = schedule_.pick_thread(ready_.size());
  current_ = ready_[pick];
  ready_[pick] = ready_.back();
  ready_.pop_back();
  ++statistics_.switches;
  current_->fiber.resume();
  current_ = nullptr;
  if (error_ != nullptr) std::rethrow_exception(std::exchange(error_, nullptr));
}

void Engine::thread_main(void* argument) {
  Thread& thread = *static_cast<Thread*>(argument);
  Engine& engine = *engine_of_this_thread;
  engine.enter_kernel();
  engine.job_->kernel(engine.job_->params);
  engine.enter_machine();
  std::exception_ptr error;
  try {
    engine.exit_thread();
  } catch (...) {
    error = std::current_exception();
  }
  if (error != nullptr) engine.abandon(std::move(error));
  thread.fiber.suspend();  // for ever
  __builtin_unreachable();
}

void Engine::exit_thread() {
  Thread& thread = *current_;
  Cta& cta = *thread.cta;
  copy_engine_.check_exit(thread);
  cta.tensor_core.check_exit(thread);
  thread.state = Thread::State::exited;
  emit({.kind = EventKind::thread_exit, .thread = thread.index, .cta = cta.rank});
  --alive_;
  cluster_barrier_.thread_exits();
  if (--cta.alive == 0) exit_cta(cta);
}

void Engine::exit_cta(Cta& cta) {
  if (cta.loads_under_way > 0)
    fail("is the last of its CTA to exit, while " + std::to_string(cta.loads_under_way) +
         " copies into the CTA's shared memory are under way");
  if (cta.reads_under_way > 0)
    fail("is the last of its CTA to exit, while " + std::to_string(cta.reads_under_way) +
         " copies out of the CTA's shared memory are under way");
  cta.mbarriers.check_exit();
  if (const auto offset = cta.shared.broken_canary())
    fail("is the last of its CTA to exit, and smem" + std::string(*offset < 0 ? "" : "+") +
         std::to_string(*offset) + ", outside the CTA's " + std::to_string(cta.shared.bytes()) +
         " bytes of shared memory, was written");
}

Cta& Engine::living_cta(int rank, const char* instruction) {
  if (rank < 0 || rank >= cluster_size())
    fail(std::string(instruction) + ": wanted a CTA rank below " + std::to_string(cluster_size()) +
         ", got " + std::to_string(rank));
  Cta& cta = *ctas_[static_cast<std::size_t>(rank)];
  if (cta.alive == 0)
    fail(std::string(instruction) + ": CTA " + std::to_string(cta.index) +
         " of the cluster has exited");
  return cta;
}

const Cta* Engine::cta_around(const void* address) const {
  for (int rank = 0; rank < cluster_size(); ++rank)
    if (ctas_[static_cast<std::size_t>(rank)]->shared.contains(address))
      return ctas_[static_cast<std::size_t>(rank)].get();
  return nullptr;
}

void Engine::suspend() { current_->fiber.suspend(); }

void Engine::block(const Waiting& why) {
  Thread& thread = *current_;
  thread.waiting = &why;
  thread.state = Thread::State::waiting;
  suspend();
  thread.waiting = nullptr;
}

void Engine::wake(Thread& thread) {
  thread.state = Thread::State::ready;
  ready_.push_back(&thread);
}

void Engine::wake_all(std::vector<Thread*>& threads) {
  for (Thread* thread : threads) wake(*thread);
  threads.clear();
}

void Engine::yield() {
  ready_.push_back(current_);
  suspend();
}

void Engine::interrupt_by_chance() {
  if (schedule_.interrupts()) yield();
}

// ---- polling
// ---------------------------------------------------------------------------------------

bool Engine::block_polling(const Polling& why, std::uint64_t timeout) {
  const std::uint64_t deadline = clock_ + std::min(timeout, ~clock_);
  while (!why.holds()) {
    if (clock_ >= deadline) {
      current_->waiting = &why;
      count_vain_poll();
      current_->waiting = nullptr;
      return false;
    }
    pollers_.push_back({current_, &why, deadline});
    block(why);
  }
  return true;
}

void Engine::poll_in_vain(const Waiting& why) {
  current_->waiting = &why;
  count_vain_poll();
  yield();
  current_->waiting = nullptr;
}

void Engine::count_vain_poll() {
  if (++vain_polls_ == kMostVainPolls)
    report_deadlock("the last " + std::to_string(kMostVainPolls) +
                    " questions were answered no, while nothing else happened");
}

void Engine::wake_pollers() {
  std::erase_if(pollers_, [this](const Poller& poller) {
    if (clock_ < poller.deadline && !poller.why->holds()) return false;
    wake(*poller.thread);
    return true;
  });
}

bool Engine::pass_time_to_a_deadline() {
  std::uint64_t first = ~std::uint64_t{0};
  for (const Poller& poller : pollers_) first = std::min(first, poller.deadline);
  if (first == ~std::uint64_t{0}) return false;
  clock_ = first;
  return true;
}

void Engine::abandon(std::exception_ptr error) {
  error_ = std::move(error);
  error = nullptr;
  suspend();
  __builtin_unreachable();
}

// ---- warps
// -----------------------------------------------------------------------------------------

namespace {

class WarpWait final : public Waiting {
 public:
  explicit WarpWait(const Warp& warp) : warp_(warp) {}
  std::string text() const override {
    return std::string(to_string(warp_.instruction)) + ": waits for " + lanes_text(~warp_.present) +
           " of its warp";
  }

 private:
  const Warp& warp_;
};

}  // namespace

/// True in the last lane to come; the others return after it has parted the warp.
bool Engine::join(Instruction instruction, const void* operands) {
  Thread& thread = *current_;
  Warp& warp = *thread.warp;
  if (warp.present != 0 && warp.instruction != instruction)
    fail(std::string(to_string(instruction)) + ": " + lanes_text(warp.present) +
         " of its warp came to " + to_string(warp.instruction) + " instead");
  warp.instruction = instruction;
  warp.present |= 1u << thread.lane;
  warp.operands[thread.lane] = operands;
  if (warp.present == ~0u) {
    emit({.kind = EventKind::warp_meet,
          .thread = thread.index,
          .cta = thread.cta->rank,
          .detail = static_cast<std::uint64_t>(instruction)});
    return true;
  }
  block(WarpWait(warp));
  return false;
}

void Engine::part(Warp& warp) {
  const int first = current_->index - current_->lane;
  warp.present = 0;
  for (int index = first; index < first + 32; ++index)
    if (index != current_->index) wake(*threads_[static_cast<std::size_t>(index)]);
}

}  // namespace kiln::emu
