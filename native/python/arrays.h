// Arrays that Python hands in, checked, one error that names the argument; and new arrays out.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <string>
#include <type_traits>
#include <vector>

#include "kernels/storage.h"
#include "python/from_python.h"
#include "support/workspace.h"

namespace gatewright {

template <class AnyArray>
std::string shape_of(const AnyArray& array) {
    std::string text = "(";
    for (size_t k = 0; k < array.ndim(); ++k) text += (k ? ", " : "") + std::to_string(array.shape(k));
    return text + (array.ndim() == 1 ? ",)" : ")");
}

inline std::string shape_of(std::initializer_list<int64_t> shape) {
    std::string text = "(";
    for (const int64_t size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
    return text + (shape.size() == 1 ? ",)" : ")");
}

// An array is of S; with BFloat16, as Stored says, of that or of float32.
template <class S>
const char* type_name() {
    if (std::is_same_v<S, BFloat16>) return "float32 or bfloat16";
    return sizeof(S) == 4 ? "float32" : "float64";
}

template <class S, class AnyArray>
void need_type(const char* name, const AnyArray& array) {
    if constexpr (std::is_same_v<S, BFloat16>) {
        if (array.dtype() != nb::dtype<float>() && !is_bfloat16(array))
            refuse(name, type_name<S>(), "another type");
    } else if (array.dtype() != nb::dtype<S>()) {
        refuse(name, std::string(type_name<S>()) + ", as the other arguments", "another type");
    }
}

// The elements of an array whose type has been checked.
template <class S, class AnyArray>
typename Stored<S>::In elements_of(const AnyArray& array) {
    if constexpr (std::is_same_v<S, BFloat16>)
        return {static_cast<const std::byte*>(array.data()), is_bfloat16(array)};
    else
        return static_cast<const S*>(array.data());
}

// The last dimension has to be contiguous; the others need not.
template <class S, class AnyArray>
void need(const char* name, const AnyArray& array, std::initializer_list<int64_t> shape, bool whole) {
    need_type<S>(name, array);
    bool good = array.ndim() == shape.size();
    for (size_t k = 0; good && k < shape.size(); ++k)
        good = static_cast<int64_t>(array.shape(k)) == shape.begin()[k];
    if (!good) refuse(name, "shape " + shape_of(shape), shape_of(array));
    if (array.size() == 0) return;
    if (!array.data()) refuse(name, "an array whose memory is there", "one whose memory was freed");
    int64_t dense = 1;
    for (size_t k = shape.size(); k-- > 0;) {
        const bool last = k + 1 == shape.size();
        if ((whole || last) && array.shape(k) > 1 && array.stride(k) != dense)
            refuse(name, whole ? "a contiguous array" : "a contiguous last dimension", "other strides");
        dense *= shape.begin()[k];
    }
}

template <class S>
typename Stored<S>::In dense(const char* name, const Maybe& array, std::initializer_list<int64_t> shape) {
    if (!array) return nullptr;
    need<S>(name, *array, shape, true);
    return elements_of<S>(*array);
}

// A result: in memory of the caller's, or a new array that goes back to the workspaces when Python drops it.
template <class S>
struct Result {
    typename Stored<S>::Out data = nullptr;
    nb::object array = nb::none();  // none where the caller has it

    Result() = default;
    // narrow: whether a new array is of bfloat16, where S allows both.
    explicit Result(std::initializer_list<int64_t> shape, [[maybe_unused]] bool narrow = false) {
        if constexpr (!std::is_same_v<S, BFloat16>)
            data = make<S>(shape);
        else if (narrow)
            data = reinterpret_cast<BFloat16*>(make<uint16_t>(shape));
        else
            data = make<float>(shape);
    }
    explicit Result(const std::vector<size_t>& sizes) { data = make<S>(sizes); }
    Result(const char* name, const Room& room, std::initializer_list<int64_t> shape, bool narrow = false) {
        if (!room) {
            *this = Result(shape, narrow);
            return;
        }
        need<S>(name, *room, shape, true);
        if constexpr (std::is_same_v<S, BFloat16>)
            data = {static_cast<std::byte*>(room->data()), is_bfloat16(*room)};
        else
            data = static_cast<S*>(room->data());
        expect_writes(room->data(), room->nbytes());
    }

  private:
    template <class Element>
    Element* make(std::initializer_list<int64_t> shape) {
        return make<Element>(std::vector<size_t>(shape.begin(), shape.end()));
    }
    template <class Element>
    Element* make(const std::vector<size_t>& sizes) {
        size_t size = 1;
        for (const size_t each : sizes) size *= each;
        auto* const memory = static_cast<Element*>(take_memory((size ? size : 1) * sizeof(Element)));
        const nb::capsule owner(memory, [](void* block) noexcept { give_memory(block); });
        array = nb::cast(nb::ndarray<nb::numpy, Element>(memory, sizes.size(), sizes.data(), owner));
        return memory;
    }
};

}  // namespace gatewright
