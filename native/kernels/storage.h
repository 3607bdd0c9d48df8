// How numbers are stored: as the type of the arithmetic, or in bfloat16, the upper half of a float32.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

// Inlined everywhere: a copy compiled for one target must never serve another.
#define GATEWRIGHT_INLINE inline __attribute__((always_inline))
#define GATEWRIGHT_INLINE_LAMBDA __attribute__((always_inline))

namespace gatewright {

struct BFloat16 {
    uint16_t bits;
};

// Rounded to nearest, ties to even; subnormal numbers become zero of the same sign, NaN stays NaN (quiet).
GATEWRIGHT_INLINE BFloat16 to_bfloat16(float value) {
    const uint32_t bits = std::bit_cast<uint32_t>(value), magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return {static_cast<uint16_t>(bits >> 16 | 0x40u)};
    if (magnitude < 0x00800000u) return {static_cast<uint16_t>(bits >> 16 & 0x8000u)};
    return {static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16)};
}

GATEWRIGHT_INLINE float to_float(BFloat16 value) { return std::bit_cast<float>(uint32_t{value.bits} << 16); }

// A pointer to float32 or to bfloat16, as a flag says; it steps in elements.
template <class Byte>
struct Either {
    Byte* data = nullptr;
    bool narrow = false;  // bfloat16

    static constexpr bool kConst = std::is_const_v<Byte>;
    using Wide = std::conditional_t<kConst, const float, float>;
    using Narrow = std::conditional_t<kConst, const BFloat16, BFloat16>;

    Either() = default;
    GATEWRIGHT_INLINE Either(std::nullptr_t) {}
    GATEWRIGHT_INLINE Either(Byte* p, bool in_bfloat16) : data(p), narrow(in_bfloat16) {}
    GATEWRIGHT_INLINE Either(Wide* p) : data(reinterpret_cast<Byte*>(p)) {}
    GATEWRIGHT_INLINE Either(Narrow* p) : data(reinterpret_cast<Byte*>(p)), narrow(true) {}
    GATEWRIGHT_INLINE operator Either<const std::byte>() const
        requires(!kConst)
    {
        return {data, narrow};
    }

    GATEWRIGHT_INLINE Either operator+(int64_t elements) const {
        return {data + elements * (narrow ? 2 : 4), narrow};
    }
    GATEWRIGHT_INLINE explicit operator bool() const { return data != nullptr; }
    GATEWRIGHT_INLINE bool operator==(const Either&) const = default;
    GATEWRIGHT_INLINE Wide* wide() const { return reinterpret_cast<Wide*>(data); }
    GATEWRIGHT_INLINE Narrow* bfloat16() const { return reinterpret_cast<Narrow*>(data); }
};

GATEWRIGHT_INLINE const void* address(const void* p) { return p; }
template <class Byte>
GATEWRIGHT_INLINE const void* address(Either<Byte> p) {
    return p.data;
}

// Bytes of an element.
template <class T>
GATEWRIGHT_INLINE int64_t bytes_of(const T*) {
    return sizeof(T);
}
template <class Byte>
GATEWRIGHT_INLINE int64_t bytes_of(Either<Byte> p) {
    return p.narrow ? 2 : 4;
}

// A pointer to bfloat16, known as such.
struct NarrowPointer {
    const BFloat16* data;

    GATEWRIGHT_INLINE NarrowPointer operator+(int64_t elements) const { return {data + elements}; }
    GATEWRIGHT_INLINE explicit operator bool() const { return data != nullptr; }
};

// Calls body with pointers to elements of the type that those of p have.
template <class T, class Body, class... More>
GATEWRIGHT_INLINE void with_type(Body&& body, const T* p, More... more) {
    body(p, more...);
}
template <class Body, class... More>
GATEWRIGHT_INLINE void with_type(Body&& body, Either<const std::byte> p, More... more) {
    p.narrow ? body(NarrowPointer{p.bfloat16()}, NarrowPointer{more.bfloat16()}...)
             : body(p.wide(), more.wide()...);
}

// A number in bfloat16.
template <class Byte>
GATEWRIGHT_INLINE BFloat16 number_of(Either<Byte> p) {
    return to_bfloat16(p.narrow ? to_float(*p.bfloat16()) : *p.wide());
}

// What a pass reads and leaves behind is stored as S; with BFloat16, whose products have operands in bfloat16 and
// sums in float32, each array is either of that or of float32.  Operand: what one instruction multiplies, a
// number, or two neighbours of a row of bfloat16, the first in the lower half; a row of odd width ends with a
// zero.
template <class S>
struct Stored {
    using In = const S*;
    using Out = S*;
    using Operand = S;
};
template <>
struct Stored<BFloat16> {
    using In = Either<const std::byte>;
    using Out = Either<std::byte>;
    using Operand = uint32_t;
};
template <class S>
using Operand = typename Stored<S>::Operand;

// Whether products are of pairs of bfloat16.
template <class S>
constexpr bool kPairs = std::is_same_v<S, BFloat16>;

// Weights, of type T: as they are given, and as they lie in panels.
template <class T, class S>
using WeightsIn = typename Stored<std::conditional_t<std::is_same_v<S, BFloat16>, S, T>>::In;
template <class T, class S>
using PanelElement = std::conditional_t<std::is_same_v<S, BFloat16>, uint32_t, T>;

// Operands in a row of `width` numbers.
template <class Operand>
GATEWRIGHT_INLINE constexpr int64_t operands_of(int64_t width) {
    return std::is_same_v<Operand, uint32_t> ? (width + 1) / 2 : width;
}

// Bytes of a number of which products are made.
template <class T, class S>
constexpr std::size_t kOperandBytes = std::is_same_v<S, BFloat16> ? sizeof(BFloat16) : sizeof(T);

}  // namespace gatewright
