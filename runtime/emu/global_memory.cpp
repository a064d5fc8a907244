#include "runtime/emu/global_memory.hpp"

#include <atomic>
#include <cstdio>
#include <string>

#include "runtime/emu/engine.hpp"

namespace kiln::emu {
namespace {

std::string address_text(const void* p) {
  char text[32];
  std::snprintf(text, sizeof text, "%p", p);
  return text;
}

std::string name_of(MemoryOp op, const Ordering& ordering) {
  const bool acquires = ordering.order == Order::acquire,
             releases = ordering.order == Order::release;
  switch (op) {
    case MemoryOp::load:
      return acquires ? "load_acquire" : "load_relaxed";
    case MemoryOp::store:
      return releases ? "store_release" : "store_relaxed";
    case MemoryOp::red_add:
      return releases ? "red_add_release" : "red_add_relaxed";
    case MemoryOp::atom_add:
      return "atom_add";
    case MemoryOp::atom_exch:
      return "atom_exch";
    case MemoryOp::atom_cas:
      return "atom_cas";
  }
  return "?";
}

void check(const Engine& engine, const void* p, int bytes, const std::string& name) {
  // Other addresses without memory fault when they are used; C++ lets nobody use a null pointer.
  if (p == nullptr) engine.fail(name + ": accesses address 0x0, where there is no memory");
  if (reinterpret_cast<u64>(p) % static_cast<u64>(bytes) != 0)
    engine.fail(name + ": address " + address_text(p) + " is not aligned to " +
                std::to_string(bytes) + " bytes");
  if (const Cta* cta = engine.cta_around(p))
    engine.fail(name + ": wanted an address in global memory, got smem+" +
                std::to_string(cta->shared.offset(p)) + " of CTA " + std::to_string(cta->index));
}

/// Sequentially consistent, whatever the kernel asked for: what a weaker order would allow is for a
/// checker to say.
template <class T>
u64 perform(const GlobalAccess& access) {
  const std::atomic_ref<T> memory(*static_cast<T*>(access.p));
  const T value = static_cast<T>(access.value);
  T expected = static_cast<T>(access.expected);
  switch (access.op) {
    case MemoryOp::load:
      return memory.load();
    case MemoryOp::store:
      memory.store(value);
      return 0;
    case MemoryOp::red_add:
    case MemoryOp::atom_add:
      return memory.fetch_add(value);
    case MemoryOp::atom_exch:
      return memory.exchange(value);
    case MemoryOp::atom_cas:
      memory.compare_exchange_strong(expected, value);
      return expected;
  }
  return 0;
}

EventKind event_of(MemoryOp op) {
  return op == MemoryOp::load    ? EventKind::global_load
         : op == MemoryOp::store ? EventKind::global_store
                                 : EventKind::global_atomic;
}

void emit(Engine& engine, EventKind kind, const void* p, int bytes, const Ordering& ordering) {
  engine.emit({.kind = kind,
               .thread = engine.current()->index,
               .bytes = static_cast<u32>(bytes),
               .detail = reinterpret_cast<u64>(p),
               .order = ordering.order,
               .scope = ordering.scope});
}

class FlagWait final : public Polling {
 public:
  explicit FlagWait(const FlagCondition& condition) : condition_(condition) {}

  bool holds() const override {
    return condition_.comparison == Comparison::equal ? held() == condition_.value
                                                      : held() >= condition_.value;
  }
  std::string text() const override {
    static constexpr const char* kScopes[] = {"cta", "cluster", "gpu", "sys"};
    const bool equal = condition_.comparison == Comparison::equal;
    return std::string(equal ? "wait_until_equal" : "wait_until_at_least") + "<" +
           kScopes[static_cast<int>(condition_.scope)] + ">: the flag at " +
           address_text(condition_.flag) + " holds " + std::to_string(held()) + ", wanted " +
           std::to_string(condition_.value) + (equal ? "" : " or more");
  }

 private:
  u32 held() const { return std::atomic_ref<u32>(*const_cast<u32*>(condition_.flag)).load(); }

  const FlagCondition condition_;
};

}  // namespace

u64 access_global(Engine& engine, const GlobalAccess& access) {
  check(engine, access.p, access.bytes, name_of(access.op, access.ordering));
  engine.enter_kernel();  // it is the kernel's address that may fault
  const u64 held = access.bytes == 4 ? perform<u32>(access) : perform<u64>(access);
  engine.enter_machine();
  const bool writes = access.op != MemoryOp::load;
  if (engine.is_observed())
    engine.touch_atomically(access.p, static_cast<u64>(access.bytes), writes,
                            access.ordering.scope);
  emit(engine, event_of(access.op), access.p, access.bytes, access.ordering);
  return held;
}

bool wait_until(Engine& engine, const FlagCondition& condition, u64 timeout) {
  check(engine, condition.flag, sizeof(u32),
        condition.comparison == Comparison::equal ? "wait_until_equal" : "wait_until_at_least");
  const FlagWait wait(condition);
  engine.enter_kernel();  // as above: it is read for the first time
  const bool holds = wait.holds();
  engine.enter_machine();
  if (!holds && !engine.block_polling(wait, timeout)) return false;
  if (engine.is_observed())
    engine.touch_atomically(condition.flag, sizeof(u32), /*write=*/false, condition.scope);
  emit(engine, EventKind::global_load, condition.flag, sizeof(u32),
       {Order::acquire, condition.scope});
  return true;
}

}  // namespace kiln::emu
