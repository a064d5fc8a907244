#include "runtime/emu/operand_tile.hpp"

#include <cstring>

namespace kiln::emu {

OperandTile::OperandTile(u64 descriptor, int rows, bool mn_major)
    : start(static_cast<u32>(descriptor & 0x3FFF) << 4),
      rows(rows),
      mn_major(mn_major),
      descriptor_(descriptor) {}

std::string OperandTile::stride_error(const char* name, u32 bytes, bool used) const {
  if (!used) return "";
  // An atom's place in the swizzle's pattern must be that of the first.
  const u32 unit = span() == 0 ? kChunk : atom_bytes();
  if (bytes != 0 && bytes % unit == 0) return "";
  return std::string(" has a ") + name + " of " + std::to_string(bytes) +
         " bytes between atoms, wanted a multiple of " + std::to_string(unit);
}

std::string OperandTile::error(std::size_t shared_bytes) const {
  if ((descriptor_ >> 49 & 7) != 0)
    return " has base offset " + std::to_string(descriptor_ >> 49 & 7) +
           "; only 0 is emulated: align the tile to " + std::to_string(atom_bytes()) + " bytes";
  // Without a swizzle the encoding itself aligns the start to a chunk.
  const u32 step = start % atom_bytes();
  const u32 last_step = mn_major ? 0 : line_bytes() - kStepBytes;
  if (span() != 0 && (step % kStepBytes != 0 || step > last_step)) {
    std::string steps;
    for (u32 bytes = kStepBytes; bytes <= last_step; bytes += kStepBytes)
      steps += (bytes == last_step ? " or " : ", ") + std::to_string(bytes);
    return " starts at smem+" + std::to_string(i64{start} - i64{kSharedBase}) +
           ": wanted a tile aligned to " + std::to_string(atom_bytes()) + " bytes" +
           (steps.empty() ? "" : ", and a K step of 0" + steps + " bytes");
  }
  // Under a swizzle, the chunks of a K-major step lie in one line.
  const bool lines_used = atoms_along_lines() > 1, chunks_used = atoms_along_chunks() > 1;
  std::string wrong = stride_error("stride", stride(), exchanged() ? chunks_used : lines_used);
  if (wrong.empty())
    wrong = stride_error("leading dimension", leading(), exchanged() ? lines_used : chunks_used);
  if (!wrong.empty()) return wrong;
  const u64 end = u64{start} / line_bytes() * line_bytes() +
                  u64{next_lines()} * (atoms_along_lines() - 1) +
                  u64{next_chunks()} * (atoms_along_chunks() - 1) + atom_bytes();
  if (start < kSharedBase || end > kSharedBase + shared_bytes)
    return " covers " + std::to_string(end - start) + " bytes from smem+" +
           std::to_string(i64{start} - i64{kSharedBase}) + ", and the CTA has " +
           std::to_string(shared_bytes);
  return "";
}

void OperandTile::gather(const std::byte* shared, u8* rows_out) const {
  for_each_atom([&](u32 first_line, u32 first_chunk, u32 count) {
    for_each_chunk(first_line, first_chunk, count, [&](u32 line, u32 chunk, u32 address) {
      const std::byte* from = shared + (address - kSharedBase);
      if (!mn_major) {
        std::memcpy(rows_out + line * kStepBytes + chunk * kChunk, from, kChunk);
        return;
      }
      for (u32 row = 0; row < 8; ++row)
        std::memcpy(rows_out + (chunk * 8 + row) * kStepBytes + line * 2, from + row * 2, 2);
    });
  });
}

}  // namespace kiln::emu
