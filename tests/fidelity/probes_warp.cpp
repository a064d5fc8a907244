// What a warp does together: matrices between registers and shared memory, shuffles, votes,
// reductions; and the byte permutation.
#include "tests/fidelity/probe.hpp"

namespace kiln::test {
namespace {

constexpr KernelShape kWarp = {.threads = 32, .cluster = 1, .smem_bytes = 1024};

/// Rows in order, reversed, exchanged as by a swizzle, and with a gap after each.
const std::vector<ProbeLaunch> kRowPlaces = {{.label = "in order", .args = {0, 1, 0}},
                                             {.label = "reversed", .args = {31, -1, 0}},
                                             {.label = "exchanged", .args = {16, 1, 5}},
                                             {.label = "every second", .args = {0, 2, 0}}};

Probe warp_probe(const std::string& name, const std::string& asks, const std::string& body) {
  Probe probe;
  probe.name = name;
  probe.asks = asks;
  probe.source =
      probe_source(32, "struct S { alignas(128) u8 rows[1024]; };", "S& s = shared<S>();\n" + body);
  probe.shape = kWarp;
  probe.value = ProbeValue::u32;
  return probe;
}

std::string form(int matrices, bool transposed) {
  return std::string("x") + std::to_string(matrices) + (transposed ? "_trans" : "");
}

/// "r[0], r[1]".
std::string registers(int count) {
  std::string text = "r[0]";
  for (int i = 1; i < count; ++i) text += ", r[" + std::to_string(i) + "]";
  return text;
}

/// Register i of lane l holds 512*l + 16*i and that + 1 in its two halves.
Probe stmatrix(int matrices, bool transposed) {
  const std::string name = form(matrices, transposed);
  Probe probe = warp_probe("stmatrix/" + name,
                           "where each half of each register lands, 512 * lane + 16 * register + "
                           "half",
                           R"(
    const int lane = lane_idx();
    for (int i = lane; i < 1024; i += 32) s.rows[i] = 0xEE;
    warp_sync();
    u32 r[4];
    for (u32 i = 0; i < 4; ++i) {
      const u32 low = static_cast<u32>(lane) * 512 + i * 16;
      r[i] = low | (low + 1) << 16;
    }
    stmatrix_)" + name + "(s.rows + 16 * (p.args[0] + p.args[1] * lane ^ p.args[2]), " +
                               registers(matrices) + R"();
    warp_sync();
    for (int i = lane; i < 1024; i += 32) p.out[i] = s.rows[i];)");
  probe.output_bytes = 1024;
  probe.value = ProbeValue::u16;
  probe.launches = kRowPlaces;
  return probe;
}

/// Shared memory holds its own 16-bit indices.
Probe ldmatrix(int matrices, bool transposed) {
  const std::string name = form(matrices, transposed), count = std::to_string(matrices);
  Probe probe = warp_probe("ldmatrix/" + name,
                           "which 16-bit elements of shared memory each register holds", R"(
    const int lane = lane_idx();
    u16* elements = reinterpret_cast<u16*>(s.rows);
    for (int i = lane; i < 512; i += 32) elements[i] = static_cast<u16>(i);
    warp_sync();
    u32 r[)" + count + R"(];
    ldmatrix_)" + name + "(s.rows + 16 * (p.args[0] + p.args[1] * lane ^ p.args[2]), r);\n" + R"(
    for (int i = 0; i < )" + count + R"(; ++i)
      reinterpret_cast<u32*>(p.out)[lane * )" + count + R"( + i] = r[i];)");
  probe.output_bytes = 32 * 4 * static_cast<std::size_t>(matrices);
  probe.value = ProbeValue::u16;
  probe.launches = kRowPlaces;
  probe.place = [matrices](std::size_t i) {
    const std::size_t halves = static_cast<std::size_t>(matrices) * 2;
    return "lane " + std::to_string(i / halves) + " register " + std::to_string(i % halves / 2) +
           " half " + std::to_string(i % 2);
  };
  return probe;
}

/// Lanes, deltas and masks from 0 to 39, inside and beyond a segment.
Probe shuffles(int width) {
  const std::string w = std::to_string(width);
  Probe probe = warp_probe("warp/shuffle/width" + w,
                           "by lane, up, down and xor of 0 to 39, segments of " + w, R"(
    const int lane = lane_idx();
    u32* out = reinterpret_cast<u32*>(p.out) + lane;
    for (int i = 0; i < 40; ++i, out += 4 * 32) {
      out[0] = shuffle(static_cast<u32>(lane), i + lane / 4, )" + w + R"();
      out[32] = shuffle_up(static_cast<u32>(lane), static_cast<u32>(i), )" + w + R"();
      out[64] = shuffle_down(static_cast<u32>(lane), static_cast<u32>(i), )" + w + R"();
      out[96] = shuffle_xor(static_cast<u32>(lane), i, )" + w + R"();
    })");
  probe.output_bytes = 40 * 4 * 32 * 4;
  probe.place = [](std::size_t i) {
    constexpr const char* kNames[] = {"shuffle", "shuffle_up", "shuffle_down", "shuffle_xor"};
    return std::string(kNames[i / 32 % 4]) + " by " + std::to_string(i / 128) + " lane " +
           std::to_string(i % 32);
  };
  return probe;
}

/// 32 values a launch, of which some are alike.
Probe reductions() {
  Probe probe =
      warp_probe("warp/reductions", "votes, match_any and every redux of 16 sets of values", R"(
    const int lane = lane_idx();
    for (int set = 0; set < 16; ++set) {
      const u32 value = reinterpret_cast<const u32*>(p.in)[set * 32 + lane];
      const int number = static_cast<int>(value);
      u32* out = reinterpret_cast<u32*>(p.out) + (set * 32 + lane) * 12;
      out[0] = vote_ballot((value & 1) != 0);
      out[1] = static_cast<u32>(vote_any(value == 5)) + 2 * vote_all(value != 6);
      out[2] = match_any(value);
      out[3] = redux_add(value);
      out[4] = static_cast<u32>(redux_add(number));
      out[5] = redux_min(value);
      out[6] = static_cast<u32>(redux_min(number));
      out[7] = redux_max(value);
      out[8] = static_cast<u32>(redux_max(number));
      out[9] = redux_and(value);
      out[10] = redux_or(value);
      out[11] = redux_xor(value);
    })");
  ProbeRandom random(41);
  for (u32 set = 0; set < 16; ++set)
    for (u32 lane = 0; lane < 32; ++lane) {
      const u32 word = random.next();
      append(probe.input, set % 4 == 0   ? word
                          : set % 4 == 1 ? word % 7
                          : set % 4 == 2 ? 0x7FFFFFFE + word % 4
                                         : (lane == set ? 5u : 0xFFFFFFFF - word % 2));
    }
  probe.output_bytes = 16 * 32 * 12 * 4;
  probe.place = [](std::size_t i) {
    return "set " + std::to_string(i / 384) + " lane " + std::to_string(i / 12 % 32) + " result " +
           std::to_string(i % 12);
  };
  return probe;
}

Probe permutations() {
  Probe probe = warp_probe("warp/byte_permute", "every selector of one byte, and random ones", R"(
    const u32* in = reinterpret_cast<const u32*>(p.in);
    for (int i = lane_idx(); i < 512; i += 32)
      reinterpret_cast<u32*>(p.out)[i] = byte_permute(in[3 * i], in[3 * i + 1], in[3 * i + 2]);)");
  ProbeRandom random(43);
  for (u32 i = 0; i < 512; ++i) {
    append(probe.input, random.next());
    append(probe.input, random.next());
    append(probe.input, i < 64 ? (i & 15) << 4 * (i / 16) : random.next());
  }
  probe.output_bytes = 2048;
  return probe;
}

}  // namespace

std::vector<Probe> warp_probes() {
  std::vector<Probe> probes;
  for (const bool transposed : {false, true})
    for (const int matrices : {1, 2, 4}) {
      probes.push_back(stmatrix(matrices, transposed));
      probes.push_back(ldmatrix(matrices, transposed));
    }
  for (const int width : {32, 16, 8, 4, 2, 1}) probes.push_back(shuffles(width));
  probes.push_back(reductions());
  probes.push_back(permutations());
  return probes;
}

}  // namespace kiln::test
