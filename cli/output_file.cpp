#include "cli/output_file.hpp"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>

#include "cli/interrupt.hpp"
#include "kiln/error.hpp"

namespace kiln::cli {
namespace {

/// The file that `path` leads to, through any links; `path` itself where nothing is there.
std::string resolved(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> real(::realpath(path.c_str(), nullptr),
                                                         &std::free);
  return real ? real.get() : path;
}

std::string random_name() {
  constexpr char kLetters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
  std::random_device random;
  std::string name = ".kiln-";
  for (int i = 0; i < 12; ++i) name += kLetters[random() % (sizeof kLetters - 1)];
  return name + ".tmp";
}

}  // namespace

OutputFile::OutputFile(const std::string& path) : path_(path), target_(resolved(path)) {
  struct stat info;
  const bool exists = ::stat(target_.c_str(), &info) == 0;
  if (exists && S_ISDIR(info.st_mode))
    throw Error(ErrorCode::io, "cannot write " + path_ + ": it is a directory");
  if (exists && !S_ISREG(info.st_mode)) {
    file_.reset(::open(target_.c_str(), O_WRONLY | O_CLOEXEC));
    if (!file_) fail("cannot open");
    return;
  }
  create_beside(target_);
  if (exists) (void)!::fchmod(file_.get(), info.st_mode & 0777);
}

void OutputFile::create_beside(const std::string& target) {
  const std::size_t slash = target.rfind('/');
  const std::string directory = slash == std::string::npos ? "" : target.substr(0, slash + 1);
  const auto held = hold_interrupts();
  do {
    temporary_ = directory + random_name();
    file_.reset(::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  } while (!file_ && errno == EEXIST);
  if (!file_) {
    temporary_.clear();
    fail("cannot create");
  }
  remove_on_interrupt(temporary_);
}

OutputFile::~OutputFile() {
  if (temporary_.empty()) return;
  const auto held = hold_interrupts();
  ::unlink(temporary_.c_str());
  keep_on_interrupt(temporary_);
}

void OutputFile::fail(const char* what) const {
  throw Error(ErrorCode::io, std::string(what) + " " + path_ + ": " + errno_text(errno));
}

void OutputFile::write(std::span<const std::byte> bytes) {
  if (!write_all(file_.get(), bytes)) fail("cannot write");
}

void OutputFile::commit() {
  if (temporary_.empty()) {
    file_.reset();
    return;
  }
  // Some file systems find out only now that there is no room.
  if (::fsync(file_.get()) != 0) fail("cannot write");
  file_.reset();
  const auto held = hold_interrupts();
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) fail("cannot replace");
  keep_on_interrupt(temporary_);
  temporary_.clear();
}

void write_whole_file(const std::string& path, std::span<const std::byte> bytes) {
  OutputFile file(path);
  file.write(bytes);
  file.commit();
}

}  // namespace kiln::cli
