// What Python hands in, checked: one error that names the argument, before any work is done; and new arrays out.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "kernels/sequence.h"
#include "python/gil.h"
#include "support/workspace.h"

namespace gatewright {

namespace nb = nanobind;

using Array = nb::ndarray<nb::ro, nb::device::cpu>;
using Maybe = std::optional<Array>;
using Room = std::optional<nb::ndarray<nb::device::cpu>>;  // memory of the caller's to write a result into

[[noreturn]] inline void refuse(const std::string& argument, const std::string& expected, const std::string& got) {
    const nb::object error = nb::module_::import_("gatewright.errors").attr("GatewrightError");
    PyErr_SetObject(error.ptr(), error(argument, expected, got).ptr());
    throw nb::python_error();
}

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

template <class T>
const char* type_name() {
    return sizeof(T) == 4 ? "float32" : "float64";
}

template <class T, class AnyArray>
void need_type(const char* name, const AnyArray& array) {
    if (array.dtype() != nb::dtype<T>())
        refuse(name, std::string(type_name<T>()) + ", as the other arguments", "another type");
}

// The last dimension has to be contiguous; the others need not.
template <class T, class AnyArray>
void need(const char* name, const AnyArray& array, std::initializer_list<int64_t> shape, bool whole) {
    need_type<T>(name, array);
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

template <class T>
const T* dense(const char* name, const Maybe& array, std::initializer_list<int64_t> shape) {
    if (!array) return nullptr;
    need<T>(name, *array, shape, true);
    return static_cast<const T*>(array->data());
}

// A result: in memory of the caller's, or a new array that goes back to the workspaces when Python drops it.
template <class T>
struct Result {
    T* data = nullptr;
    nb::object array = nb::none();  // none where the caller has it

    Result() = default;
    explicit Result(std::initializer_list<int64_t> shape) {
        const std::vector<size_t> sizes(shape.begin(), shape.end());
        size_t size = 1;
        for (const size_t each : sizes) size *= each;
        data = static_cast<T*>(take_memory((size ? size : 1) * sizeof(T)));
        const nb::capsule owner(data, [](void* block) noexcept { give_memory(block); });
        array = nb::cast(nb::ndarray<nb::numpy, T>(data, sizes.size(), sizes.data(), owner));
    }
    Result(const char* name, const Room& room, std::initializer_list<int64_t> shape) {
        if (!room) {
            *this = Result(shape);
        } else {
            need<T>(name, *room, shape, true);
            data = static_cast<T*>(room->data());
            expect_writes(data, room->nbytes());
        }
    }
};

// Sizes and steps of a call, read off its arguments and checked.
template <class T>
struct Problem {
    Sizes sizes{};
    Steps steps{};
    Weights<T> weights{};
    std::vector<int64_t> batch_sizes, starts;
    int64_t rows = 0;

    Problem(const Array& W_ih, const Array& W_hh, const Maybe& b_ih, const Maybe& b_hh, const Maybe& W_hr) {
        if (W_hh.ndim() != 2 || W_hh.shape(0) == 0 || W_hh.shape(0) % 4 != 0 || W_hh.shape(1) == 0)
            refuse("W_hh", "shape (4H, H), or (4H, P) with a projection", shape_of(W_hh));
        if (W_ih.ndim() != 2 || W_ih.shape(1) == 0) refuse("W_ih", "shape (4H, D)", shape_of(W_ih));
        const int64_t H = W_hh.shape(0) / 4;
        sizes.D = W_ih.shape(1);
        sizes.H = H;
        sizes.P = W_hh.shape(1);
        sizes.projected = W_hr.has_value();
        if (!sizes.projected && sizes.P != H)
            refuse("W_hh", "shape " + shape_of({4 * H, H}) + " without W_hr", shape_of(W_hh));
        if (b_ih.has_value() != b_hh.has_value())
            refuse(b_ih ? "b_hh" : "b_ih", "both biases, or neither", "one of them");
        weights = {dense<T>("W_ih", W_ih, {4 * H, sizes.D}), dense<T>("W_hh", W_hh, {4 * H, sizes.P}),
                   dense<T>("b_ih", b_ih, {4 * H}), dense<T>("b_hh", b_hh, {4 * H}),
                   dense<T>("W_hr", W_hr, {sizes.P, H})};
    }

    Problem(const Array& x, const Array& W_ih, const Array& W_hh, const Maybe& b_ih, const Maybe& b_hh,
            const Maybe& W_hr, const std::optional<std::vector<int64_t>>& given_batch_sizes, bool reverse)
        : Problem(W_ih, W_hh, b_ih, b_hh, W_hr) {
        const size_t dimensions = given_batch_sizes ? 2 : 3;
        if (x.ndim() != dimensions || int64_t(x.shape(dimensions - 1)) != sizes.D)
            refuse("x", (given_batch_sizes ? "shape (rows, " : "shape (T, B, ") + std::to_string(sizes.D) + ")",
                   shape_of(x));
        if (!given_batch_sizes) {
            steps = {int64_t(x.shape(0)), int64_t(x.shape(1)), nullptr, nullptr, reverse};
            rows = steps.T * steps.B;
        } else {
            batch_sizes = *given_batch_sizes;
            starts.push_back(0);
            for (size_t t = 0; t < batch_sizes.size(); ++t) {
                if (batch_sizes[t] < 1 || (t > 0 && batch_sizes[t] > batch_sizes[t - 1]))
                    refuse("batch_sizes", "whole numbers of at least 1, none above the one before it",
                           std::to_string(batch_sizes[t]) + " at step " + std::to_string(t));
                starts.push_back(starts.back() + batch_sizes[t]);
            }
            rows = starts.back();
            if (rows != int64_t(x.shape(0)))
                refuse("batch_sizes", "a sum of " + std::to_string(x.shape(0)) + ", the rows of x",
                       std::to_string(rows));
            const int64_t T_ = int64_t(batch_sizes.size());
            steps = {T_, T_ ? batch_sizes[0] : 0, batch_sizes.data(), starts.data(), reverse};
        }
        sizes.T = steps.T;
        sizes.B = steps.B;
    }

    bool packed() const { return steps.starts != nullptr; }

    // An argument of (T, B, width), or (rows, width) where steps are packed.
    Rows<const T> rows_of(const char* name, const Maybe& array, int64_t width, bool whole = false) const {
        if (!array) return {nullptr, 0, 0};
        const auto* const data = static_cast<const T*>(array->data());
        if (packed()) {
            need<T>(name, *array, {rows, width}, whole);
            return {data, 0, array->stride(0)};
        }
        need<T>(name, *array, {steps.T, steps.B, width}, whole);
        return {data, array->stride(0), array->stride(1)};
    }

    Rows<T> rows_in(T* data, int64_t width) const { return {data, steps.B * width, width}; }
    Result<T> result_rows(const char* name, const Room& room, int64_t width) const {
        if (packed()) return Result<T>(name, room, {rows, width});
        return Result<T>(name, room, {steps.T, steps.B, width});
    }
};

// Steps between checkpoints: as wished, but whole chunks, and no more than there are.
inline int64_t steps_between(int64_t wish, const Sizes& n, size_t element) {
    const int64_t unit = chunk_steps(n, element), most = n.T > 0 ? n.T : 1;
    return ((wish < most ? wish : most) + unit - 1) / unit * unit;
}

// The places of results that the caller has; none where it has none.
class Rooms {
  public:
    Rooms(const std::vector<Room>& given, size_t results) : given_(given) {
        if (!given.empty() && given.size() != results)
            refuse("out", std::to_string(results) + " arrays or None", std::to_string(given.size()));
    }
    const Room& operator[](size_t n) const { return given_.empty() ? none_ : given_[n]; }

  private:
    const std::vector<Room>& given_;
    const Room none_;
};

inline Split split_of(const std::string& name) {
    if (name == "rows") return Split::rows;
    if (name == "units") return Split::units;
    if (!name.empty()) refuse("split", "'rows', 'units' or ''", "'" + name + "'");
    return Split::automatic;
}

inline void check_numbers(int threads, int64_t checkpoint) {
    if (threads < 1) refuse("threads", "at least 1", std::to_string(threads));
    if (checkpoint < 0) refuse("checkpoint", "at least 0", std::to_string(checkpoint));
}

}  // namespace gatewright
