#include "runtime/dynamic_library.hpp"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>

#include <cstring>

#include "runtime/files.hpp"
#include "runtime/sha256.hpp"

namespace kiln {
namespace {

template <class T>
bool read_at(int fd, std::uint64_t offset, T& value) {
  return ::pread(fd, &value, sizeof value, static_cast<off_t>(offset)) ==
         static_cast<ssize_t>(sizeof value);
}

/// The descriptor of the GNU build id among the notes of one segment.
std::string build_id_in(const std::vector<std::byte>& notes) {
  std::size_t at = 0;
  Elf64_Nhdr note;
  while (at + sizeof note <= notes.size()) {
    std::memcpy(&note, notes.data() + at, sizeof note);
    const std::size_t name = at + sizeof note;
    const std::size_t content = name + (std::size_t{note.n_namesz} + 3) / 4 * 4;
    const std::size_t end = content + (std::size_t{note.n_descsz} + 3) / 4 * 4;
    if (end > notes.size()) break;
    if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 &&
        std::memcmp(notes.data() + name, "GNU", 4) == 0)
      return to_hex(std::span(notes).subspan(content, note.n_descsz));
    at = end;
  }
  return "";
}

std::string build_id_of(int fd) {
  Elf64_Ehdr header;
  if (!read_at(fd, 0, header) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
      header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_phentsize != sizeof(Elf64_Phdr))
    return "";
  for (int i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    if (!read_at(fd, header.e_phoff + i * sizeof segment, segment)) return "";
    if (segment.p_type != PT_NOTE || segment.p_filesz > 65536) continue;
    std::vector<std::byte> notes(segment.p_filesz);
    if (::pread(fd, notes.data(), notes.size(), static_cast<off_t>(segment.p_offset)) !=
        static_cast<ssize_t>(notes.size()))
      continue;
    if (std::string id = build_id_in(notes); !id.empty()) return id;
  }
  return "";
}

}  // namespace

DynamicLibrary::DynamicLibrary(void* handle) : handle_(handle) {
  link_map* map = nullptr;
  if (handle && ::dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 && map && map->l_name)
    path_ = map->l_name;
}

DynamicLibrary DynamicLibrary::open(const std::vector<std::string>& candidates,
                                    std::vector<std::string>& failures) {
  for (const std::string& candidate : candidates) {
    if (void* handle = ::dlopen(candidate.c_str(), RTLD_NOW | RTLD_LOCAL))
      return DynamicLibrary(handle);
    const char* error = ::dlerror();
    failures.push_back(error ? error : candidate + ": unknown error");
  }
  return DynamicLibrary(nullptr);
}

DynamicLibrary DynamicLibrary::if_loaded(const std::string& name) {
  return DynamicLibrary(::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD));
}

void* DynamicLibrary::symbol(const char* name) const {
  return handle_ ? ::dlsym(handle_, name) : nullptr;
}

std::string own_library_path() {
  Dl_info info;
  const bool known = ::dladdr(reinterpret_cast<void*>(&own_library_path), &info) != 0;
  return known && info.dli_fname && info.dli_fname[0] == '/' ? info.dli_fname : "";
}

std::string content_id(const std::string& path) {
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return "";
  if (std::string id = build_id_of(file.get()); !id.empty()) return id;
  const auto bytes = read_file(path);
  return bytes ? to_hex(sha256(*bytes)) : "";
}

}  // namespace kiln
