#include "runtime/emu/shadow.hpp"

namespace kiln::emu {

void Granule::note(const Record& record) {
  const u16 mask = record.mask;
  if (record.writes()) written_ |= mask;
  for (u32 i = 0; i < count_;) {
    Record& old = at(i);
    const bool same_agent = old.agent == record.agent && old.run == record.run;
    if (record.writes() && !record.atomic()) {
      // Whatever was before has been compared with this write: later accesses need not look back.
      old.mask &= static_cast<u16>(~mask);
    } else if (same_agent && old.kind == record.kind && (old.mask & ~mask) == 0) {
      old.mask = 0;  // this one is later, and covers it
    }
    if (old.mask == 0) {
      remove(i);
    } else {
      ++i;
    }
  }
  if (count_ >= kInline && more_.size() <= count_ - kInline) more_.emplace_back();
  at(count_++) = record;
}

}  // namespace kiln::emu
