// The tile registers of Intel AMX, of which a product of bfloat16 takes three: sums, left and right operand.
//
// Here are the instructions, and for machines without them a model that computes the same bits, and that ends the
// program where a processor would raise an exception.
#pragma once

#include <cstdlib>

#include "kernels/simd.h"

namespace gatewright::GATEWRIGHT_TARGET {

// A register holds that many rows, of as many sums or pairs each.
constexpr int kSide = 16;

// How many rows and bytes a row the eight registers have, as `ldtilecfg` reads it.
struct alignas(64) TileShapes {
    uint8_t palette, first_row, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
};
static_assert(sizeof(TileShapes) == 64);

inline constexpr TileShapes kSquares = {
    1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {kSide, kSide, kSide, kSide, kSide, kSide, kSide, kSide}};

#if !defined(GATEWRIGHT_AMX_MODEL)

// In assembly: the intrinsics of GCC 12 hide from the compiler what memory they read.

// Configures the registers of this thread for as long as it lives.
class TileScope {
  public:
    TileScope() { asm volatile("ldtilecfg %0" : : "m"(kSquares) : "memory"); }
    ~TileScope() { asm volatile("tilerelease" : : : "memory"); }
    TileScope(const TileScope&) = delete;
    TileScope& operator=(const TileScope&) = delete;
};

// Rows of 64 bytes, `stride` bytes apart.
template <int Tile>
GATEWRIGHT_INLINE void load_tile(const void* rows, int64_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(rows), "r"(stride), "i"(Tile) : "memory");
}

template <int Tile>
GATEWRIGHT_INLINE void store_tile(void* rows, int64_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(rows), "r"(stride), "i"(Tile) : "memory");
}

// Sums += Left Right.
template <int Sums, int Left, int Right>
GATEWRIGHT_INLINE void multiply_tiles() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(Sums), "i"(Left), "i"(Right));
}

#else

class TileScope {
  public:
    TileScope() {
        if (current_) std::abort();  // a walk in a walk would lose the outer one's registers
        current_ = this;
    }
    ~TileScope() { current_ = nullptr; }
    TileScope(const TileScope&) = delete;
    TileScope& operator=(const TileScope&) = delete;

    // A register, as the configuration has it.
    template <int Tile>
    static Vec<uint32_t, kSide>* rows() {
        static_assert(Tile < 8 && kSquares.palette == 1 && kSquares.first_row == 0);
        static_assert(kSquares.rows[Tile] == kSide && kSquares.bytes[Tile] == 4 * kSide);
        if (!current_) std::abort();
        return current_->tiles_[Tile];
    }

  private:
    static thread_local TileScope* current_;
    Vec<uint32_t, kSide> tiles_[8][kSide]{};
};

inline thread_local TileScope* TileScope::current_ = nullptr;

template <int Tile>
void load_tile(const void* rows, int64_t stride) {
    for (int m = 0; m < kSide; ++m)
        TileScope::rows<Tile>()[m] =
            load<kSide>(reinterpret_cast<const uint32_t*>(static_cast<const char*>(rows) + m * stride));
}

template <int Tile>
void store_tile(void* rows, int64_t stride) {
    for (int m = 0; m < kSide; ++m)
        store<kSide>(reinterpret_cast<uint32_t*>(static_cast<char*>(rows) + m * stride),
                     TileScope::rows<Tile>()[m]);
}

// The order of Intel's manual: the lower numbers of all pairs make one sum and the upper ones another, each from
// zero, k ascending, a multiply-add with one rounding each; then sums += lower + upper, rounded twice.  Subnormal
// numbers are zeros, for which the caller sets the mode; the instruction has it always.
template <int Sums, int Left, int Right>
void multiply_tiles() {
    static_assert(Sums != Left && Sums != Right && Left != Right);
    using Numbers = Vec<float, kSide>;
    const auto lower = [](Vec<uint32_t, kSide> pairs) { return (Numbers)(pairs << 16); };
    const auto upper = [](Vec<uint32_t, kSide> pairs) { return (Numbers)(pairs & 0xffff0000u); };
    for (int m = 0; m < kSide; ++m) {
        Numbers lower_sum{}, upper_sum{};
        for (int k = 0; k < kSide; ++k) {
            const Vec<uint32_t, kSide> left = broadcast<kSide>(TileScope::rows<Left>()[m][k]);
            const Vec<uint32_t, kSide> right = TileScope::rows<Right>()[k];
            lower_sum = fma_of<float, kSide>(lower(left), lower(right), lower_sum);
            upper_sum = fma_of<float, kSide>(upper(left), upper(right), upper_sum);
        }
        Vec<uint32_t, kSide>& sums = TileScope::rows<Sums>()[m];
        sums = (Vec<uint32_t, kSide>)((Numbers)sums + (lower_sum + upper_sum));
    }
}

#endif

}  // namespace gatewright::GATEWRIGHT_TARGET
