#include "cli/progress.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "cli/text.hpp"

namespace kiln::cli {
namespace {

constexpr double kFirstDraw = 0.3, kDrawEvery = 0.1;   // seconds, on a terminal
constexpr double kFirstLine = 2.0, kLineEvery = 10.0;  // elsewhere

std::size_t terminal_width() {
  winsize size = {};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

Progress::Progress(std::string what, double expected_seconds)
    : what_(std::move(what)),
      expected_(expected_seconds),
      terminal_(::isatty(STDERR_FILENO) != 0),
      ticker_([this] { tick(); }) {}

Progress::~Progress() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  stop_.notify_all();
  ticker_.join();
  if (!shown_) return;
  // The line goes; a log keeps its own and hears of the end.
  if (terminal_)
    std::fputs("\r\033[K", stderr);
  else
    std::fputs(fmt::format("kiln: {}: {}\n", what_, time_text(seconds())).c_str(), stderr);
}

void Progress::update(i64 done, i64 total) {
  const std::lock_guard lock(mutex_);
  done_ = done;
  total_ = total;
}

double Progress::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

std::string Progress::line(double elapsed) const {
  std::string text = fmt::format("kiln: {}: ", what_);
  if (total_ > 0) {
    const double part = static_cast<double>(done_) / static_cast<double>(total_);
    text += fmt::format("{:.0f} %, ", 100 * part);
    if (part > 0.02)
      return text + fmt::format("{} of about {}", time_text(elapsed), time_text(elapsed / part));
  } else if (expected_ > 0) {
    return text + fmt::format("{} of about {}", time_text(elapsed),
                              time_text(std::max(expected_, elapsed)));
  }
  return text + time_text(elapsed);
}

void Progress::tick() {
  std::unique_lock lock(mutex_);
  double next = terminal_ ? kFirstDraw : kFirstLine;
  while (!stopped_) {
    stop_.wait_for(lock, std::chrono::duration<double>(std::max(0.01, next - seconds())));
    if (stopped_ || seconds() < next) continue;
    shown_ = true;
    next += terminal_ ? kDrawEvery : kLineEvery;
    const std::string text = line(seconds());
    std::fputs(terminal_ ? fmt::format("\r{}\033[K", text.substr(0, terminal_width() - 1)).c_str()
                         : (text + "\n").c_str(),
               stderr);
  }
}

}  // namespace kiln::cli
