// Small pieces around file descriptors that the cache and the compilers share.
#pragma once

#include <unistd.h>

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kiln {

/// Owns a file descriptor.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  ~FileDescriptor() { reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  void reset(int fd = -1) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
  }

 private:
  int fd_ = -1;
};

/// Writes all of `bytes`; false, with errno set, if that failed.
bool write_all(int fd, std::span<const std::byte> bytes);

/// Reads exactly `size` bytes; nothing, with errno set (0 at the end of the file), if that failed.
std::optional<std::vector<std::byte>> read_exactly(int fd, std::size_t size);

/// The bytes of a regular file, or nothing with errno set.
std::optional<std::vector<std::byte>> read_file(const std::string& path);

/// Creates or replaces a file; throws Error{io}.
void write_file(const std::string& path, std::string_view text);

inline std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

/// The text of an errno value.
std::string errno_text(int error);

bool is_executable_file(const std::string& path);
bool is_regular_file(const std::string& path);

}  // namespace kiln
