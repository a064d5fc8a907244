// What an engine says when a kernel cannot go on: who did what, who waits for what.
#include <csignal>
#include <map>
#include <utility>

#include "kiln/error.hpp"
#include "runtime/emu/engine.hpp"
#include "runtime/emu/fault.hpp"

namespace kiln::emu {
namespace {

/// Threads of a CTA that wait for the same thing: a mask of lanes for each warp.
using Group = std::map<int, u32>;

/// "warps 0-3 (128 threads)", "warp 2 lanes 0-15 (16 threads)"; neighbouring warps with the same
/// lanes together.
std::string threads_text(const Group& group) {
  std::string text;
  int threads = 0;
  for (auto warp = group.begin(); warp != group.end();) {
    auto last = warp;
    for (auto next = warp;
         next != group.end() && next->second == warp->second && next->first <= last->first + 1;
         ++next)
      last = next;
    if (!text.empty()) text += ", ";
    text.append(last == warp ? "warp " : "warps ").append(std::to_string(warp->first));
    if (last != warp) text.append("-").append(std::to_string(last->first));
    if (warp->second != ~0u) text.append(" ").append(lanes_text(warp->second));
    threads += __builtin_popcount(warp->second) * (last->first - warp->first + 1);
    warp = std::next(last);
  }
  return text + " (" + std::to_string(threads) + (threads == 1 ? " thread)" : " threads)");
}

std::string offset_text(std::ptrdiff_t offset) {
  return "smem" + std::string(offset < 0 ? "" : "+") + std::to_string(offset);
}

}  // namespace

/// "CTA 3", and of which grid where several run.
std::string Engine::cta_text(const Cta& cta) const {
  std::string text = "CTA " + std::to_string(cta.index);
  if (grids_.size() == 1) return text;
  return "grid " + std::to_string(cta.cluster->grid->index) + " " + text;
}

std::string Engine::where() const {
  if (current_ == nullptr) return "";
  return cta_text(*current_->cta) + " warp " + std::to_string(current_->warp->index) + " lane " +
         std::to_string(current_->lane) + ": ";
}

void Engine::fail(const std::string& what) const {
  throw Error(ErrorCode::internal, "emulator: " + where() + what);
}

void Engine::report_deadlock(const std::string& why) const {
  std::map<std::pair<int, std::string>, Group> groups;  // by CTA and reason
  for (int i = 0; i < thread_count_; ++i) {
    const Thread& thread = *threads_[static_cast<std::size_t>(i)];
    const std::string text = thread.state == Thread::State::exited ? "has exited"
                             : thread.state == Thread::State::not_started
                                 ? "waits for the grid before it"
                             : thread.waiting == nullptr ? "can run"
                                                         : thread.waiting->text();
    groups[{thread.cta->number, text}][thread.warp->index] |= 1u << thread.lane;
  }
  std::string message = "emulator: deadlock: " + std::to_string(alive_) + " of " +
                        std::to_string(thread_count_) + " threads wait, " + why;
  for (const auto& [key, group] : groups)
    message += "\n  " + cta_text(*ctas_[static_cast<std::size_t>(key.first)]) + " " +
               threads_text(group) + ": " + key.second;
  throw Error(ErrorCode::deadlock, message);
}

std::string Engine::fault_text(const void* address, int signal) const {
  if (signal == SIGFPE) return "divides an integer by zero";
  if (signal == kTrapSignal)
    return "loads or stores at an address that is not a multiple of what its type is aligned to, "
           "or "
           "an element that its array does not have";
  if (stacks_.in_guard(current_->index, address)) return "overflows its stack";
  for (int i = 0; i < cta_count_; ++i) {
    const Cta& cta = *ctas_[static_cast<std::size_t>(i)];
    if (const auto offset = cta.shared.overrun(address))
      return "accesses " + offset_text(*offset) + " of " + cta_text(cta) + ", which has " +
             std::to_string(cta.shared.bytes()) + " bytes of shared memory";
  }
  char text[32];
  std::snprintf(text, sizeof text, "%p", address);
  return std::string("accesses address ") + text + ", where there is no memory";
}

void Engine::fault(const void* address, int signal) {
  enter_machine();
  std::exception_ptr error;
  try {
    fail(fault_text(address, signal));
  } catch (...) {
    error = std::current_exception();
  }
  abandon(std::move(error));
}

}  // namespace kiln::emu
