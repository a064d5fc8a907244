#include "runtime/emu/engine.hpp"

#include <algorithm>
#include <cfenv>
#include <new>
#include <utility>

#include "kiln/error.hpp"

namespace kiln::emu {
namespace {

/// So many questions in a row answered no, and nothing else happened in the cluster: a deadlock.
constexpr std::uint64_t kMostVainPolls = 1 << 20;

thread_local Engine* engine_of_this_thread = nullptr;

constexpr std::size_t kIdentityBytes = 64;  // of a thread's stack
constexpr std::size_t kStackBytes = FiberStacks::kBytes - kIdentityBytes;
static_assert(sizeof(Identity) <= kIdentityBytes);

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

Statistics Engine::run(std::span<Grid> grids, std::uint64_t seed, Observer* observer) {
  const KernelEnvironment environment(this);
  observer_ = observer;
  set_up(grids, seed);
  if (observer != nullptr) observer->on_start(layout());
  start_what_may();
  run_until_exit();
  return statistics_;
}

void Engine::set_up(std::span<Grid> grids, std::uint64_t seed) {
  grids_ = grids;
  statistics_ = {};
  ready_.clear();
  operations_.clear();
  pollers_.clear();
  clock_ = vain_polls_ = 0;
  current_ = nullptr;
  in_kernel_ = false;
  error_ = nullptr;
  copy_engine_.reset();
  cta_count_ = thread_count_ = alive_ = 0;
  cp_async_.reset();
  cluster_memory_.reset();

  std::size_t clusters = 0;
  for (Grid& grid : grids) {
    grid.index = static_cast<int>(&grid - grids.data());
    grid.alive = grid.not_allowing = grid.operations = 0;
    grid.started = false;
    grid.waiters.clear();
    for (int i = grid.first_cluster; i < grid.end_cluster; ++i) {
      if (clusters == clusters_.size()) clusters_.push_back(std::make_unique<Cluster>(*this));
      set_up_cluster(*clusters_[clusters++], grid, i);
    }
  }
  schedule_ = Schedule(grids.front().job->policy, seed, thread_count_);
}

RunLayout Engine::layout() const {
  RunLayout layout;
  for (int i = 0; i < cta_count_; ++i)
    layout.shared_bytes.push_back(ctas_[static_cast<std::size_t>(i)]->shared.bytes());
  for (const Grid& grid : grids_)
    layout.grids.push_back({grid.before == nullptr ? -1 : grid.before->index, grid.dependent});
  for (int i = 0; i < thread_count_; ++i) {
    const Thread& thread = *threads_[static_cast<std::size_t>(i)];
    const Cluster& cluster = *thread.cta->cluster;
    layout.threads.push_back({.cta = thread.cta->number,
                              .warp = thread.warp->index,
                              .lane = thread.lane,
                              .cluster = cluster.ctas.front()->number,
                              .grid = cluster.grid->index,
                              .device = cluster.grid->job->device,
                              .cta_index = thread.cta->index});
  }
  return layout;
}

void Engine::set_up_cluster(Cluster& cluster, Grid& grid, int index) {
  const KernelShape& shape = grid.job->shape;
  cluster.grid = &grid;
  cluster.barrier.reset(shape.threads * shape.cluster);
  cluster.ctas.clear();
  stacks_.reserve(thread_count_ + shape.threads * shape.cluster);
  for (int rank = 0; rank < shape.cluster; ++rank) {
    if (cta_count_ == static_cast<int>(ctas_.size()))
      ctas_.push_back(std::make_unique<Cta>(*this, cta_count_));
    Cta& cta = *ctas_[static_cast<std::size_t>(cta_count_++)];
    cluster.ctas.push_back(&cta);
    cta.rank = rank;
    set_up_cta(cta, cluster, index);
  }
}

void Engine::set_up_cta(Cta& cta, Cluster& cluster, int cluster_index) {
  const KernelShape& shape = cluster.grid->job->shape;
  cta.cluster = &cluster;
  cta.index = cluster_index * shape.cluster + cta.rank;
  cta.thread_count = cta.alive = shape.threads;
  cta.allows_next_grid = false;
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
  Grid& grid = *cluster.grid;
  for (int i = 0; i < shape.threads; ++i) {
    const int index = thread_count_++;
    if (index == static_cast<int>(threads_.size())) threads_.push_back(std::make_unique<Thread>());
    Thread& thread = *threads_[static_cast<std::size_t>(index)];
    std::byte* top = stacks_.top(index) - kIdentityBytes;
    thread.identity = new (top) Identity{i, cta.index, grid.job->ctas, cta.rank};
    thread.index = index;
    thread.lane = i % 32;
    thread.cta = &cta;
    thread.warp = &cta.warps[static_cast<std::size_t>(i) / 32];
    thread.state = Thread::State::not_started;
    thread.waiting = nullptr;
    thread.bulk.reset();
    thread.cp_async.reset();
    thread.in_cluster_barrier = false;
    thread.fiber.start(top, kStackBytes, thread_main, &thread);
  }
  grid.alive += shape.threads;
  alive_ += shape.threads;
  ++grid.not_allowing;
}

// ---- running
// ---------------------------------------------------------------------------------------

void Engine::run_until_exit() {
  while (alive_ > 0 || !operations_.empty()) {
    if (!pollers_.empty()) wake_pollers();
    if (operations_.empty() && ready_.empty()) {
      if (!pass_time_to_a_deadline())
        report_deadlock("no thread can run and no operation is pending");
      ++clock_;
      continue;
    }
    const Schedule::Step step = schedule_.next(
        operations_.size(), ready_.size(),
        [this](std::size_t pick) { return operations_[pick].unit != Unit::tensor_core; },
        [this](std::size_t pick) { return ready_[pick]->index; });
    if (step.completes_operation) {
      complete_operation(step.pick);
    } else {
      run_thread(step.pick);
    }
    ++clock_;
  }
}

void Engine::complete_operation(std::size_t pick) {
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
  Grid& grid = *operation.cta->cluster->grid;
  --grid.operations;
  settle(grid);
}

void Engine::run_thread(std::size_t pick) {
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
  const Job& job = *thread.cta->cluster->grid->job;
  job.kernel(job.params);
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
  emit({.kind = EventKind::thread_exit, .thread = thread.index, .cta = cta.number});
  --alive_;
  cta.cluster->barrier.thread_exits();
  if (--cta.alive == 0) exit_cta(cta);
  Grid& grid = *cta.cluster->grid;
  --grid.alive;
  settle(grid);
}

void Engine::exit_cta(Cta& cta) {
  if (cta.loads_under_way > 0)
    fail("is the last of its CTA to exit, while " + std::to_string(cta.loads_under_way) +
         " copies into the CTA's shared memory are under way");
  if (cta.reads_under_way > 0)
    fail("is the last of its CTA to exit, while " + std::to_string(cta.reads_under_way) +
         " copies out of the CTA's shared memory are under way");
  cta.mbarriers.check_exit();
  cta.registers.check_exit();
  if (const auto offset = cta.shared.broken_canary())
    fail("is the last of its CTA to exit, and smem" + std::string(*offset < 0 ? "" : "+") +
         std::to_string(*offset) + ", outside the CTA's " + std::to_string(cta.shared.bytes()) +
         " bytes of shared memory, was written");
  allow_next_grid(cta);
}

bool Engine::is_parameter(const void* address) const {
  const Job& job = *current_->cta->cluster->grid->job;
  return static_cast<u64>(static_cast<const std::byte*>(address) -
                          static_cast<const std::byte*>(job.params)) < job.params_bytes;
}

void Engine::touch(const void* address, u64 bytes, bool write) {
  touch({.write = write, .thread = current_->index}, address, bytes);
}

void Engine::touch_atomically(const void* address, u64 bytes, bool write, ptx::Scope scope) {
  touch({.write = write, .atomic = true, .scope = scope, .thread = current_->index}, address,
        bytes);
}

void Engine::touch(Access access, const void* address, u64 bytes) {
  u64 where = reinterpret_cast<u64>(address);
  if (is_parameter(address)) return;
  for (const Cta* cta : current_->cta->cluster->ctas)
    if (cta->shared.contains(address, bytes)) {
      access.cta = cta->number;
      where = cta->shared.offset(address);
    }
  touch(access, where, bytes);
}

Cta& Engine::living_cta(int rank, const char* instruction) {
  if (rank < 0 || rank >= cluster_size())
    fail(std::string(instruction) + ": wanted a CTA rank below " + std::to_string(cluster_size()) +
         ", got " + std::to_string(rank));
  Cta& cta = *current_->cta->cluster->ctas[static_cast<std::size_t>(rank)];
  if (cta.alive == 0)
    fail(std::string(instruction) + ": CTA " + std::to_string(cta.index) +
         " of the cluster has exited");
  return cta;
}

const Cta* Engine::cta_around(const void* address) const {
  for (const Cta* cta : current_->cta->cluster->ctas)
    if (cta->shared.contains(address)) return cta;
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
          .cta = thread.cta->number,
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
