// Values from Python, converted one by one: what is of no fitting type is refused by its own name.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace gatewright {

namespace nb = nanobind;

using Array = nb::ndarray<nb::ro, nb::device::cpu>;
using Maybe = std::optional<Array>;
using Writable = nb::ndarray<nb::device::cpu>;
using Room = std::optional<Writable>;  // memory of the caller's to write a result into

[[noreturn]] inline void refuse(const std::string& argument, const std::string& expected, const std::string& got) {
    const nb::object error = nb::module_::import_("gatewright.errors").attr("GatewrightError");
    PyErr_SetObject(error.ptr(), error(argument, expected, got).ptr());
    throw nb::python_error();
}

// The type of a value, and of its elements where it is an array; a number as it stands.
inline std::string described(nb::handle value) {
    const auto text_of = [](nb::handle object) {
        const nb::object text = nb::steal(PyObject_Str(object.ptr()));
        const char* const data = text.ptr() ? PyUnicode_AsUTF8AndSize(text.ptr(), nullptr) : nullptr;
        if (!data) PyErr_Clear();
        return std::string(data ? data : "?").substr(0, 60);
    };
    std::string text = nb::borrow<nb::str>(value.type().attr("__name__")).c_str();
    if (nb::hasattr(value, "dtype")) return text + " of " + text_of(value.attr("dtype"));
    if (PyLong_Check(value.ptr()) || PyFloat_Check(value.ptr())) return text + " " + text_of(value);
    return text;
}

// An attribute's name, made once: a Python string for each call would take as long as the look-up itself.
class Attribute {
  public:
    explicit Attribute(const char* name) : name_(name), text_(PyUnicode_InternFromString(name)) {}
    const char* name() const { return name_; }
    nb::object of(const char* owner, const char* type, nb::handle object) const {
        PyObject* const value = PyObject_GetAttr(object.ptr(), text_);
        if (value) return nb::steal(value);
        PyErr_Clear();
        refuse(owner, type, described(object));
    }

  private:
    const char* const name_;
    PyObject* const text_;  // kept for as long as the process runs
};

inline Array array_of(const char* name, nb::handle value) {
    Array array;
    if (!nb::try_cast(value, array)) refuse(name, "a NumPy array of float32 or float64", described(value));
    return array;
}

inline Maybe maybe_of(const char* name, nb::handle value) {
    if (value.is_none()) return std::nullopt;
    return array_of(name, value);
}

inline Room room_of(const char* name, nb::handle value) {
    if (value.is_none()) return std::nullopt;
    Writable array;
    if (!nb::try_cast(value, array)) refuse(name, "writable NumPy arrays or None", described(value));
    return array;
}

inline bool flag_of(const char* name, nb::handle value) {
    if (!PyBool_Check(value.ptr())) refuse(name, "True or False", described(value));
    return value.ptr() == Py_True;
}

// A whole number within limits, the upper one left out of the message where it is that of the type.
inline int64_t whole_of(const char* name, nb::handle value, int64_t least,
                        int64_t most = std::numeric_limits<int64_t>::max()) {
    int overflow = 0;
    const bool whole = PyLong_Check(value.ptr()) && !PyBool_Check(value.ptr());
    const int64_t number = whole ? PyLong_AsLongLongAndOverflow(value.ptr(), &overflow) : 0;
    if (!whole || overflow || number < least || number > most) {
        std::string expected = "a whole number of at least " + std::to_string(least);
        if (overflow > 0 || number > most) expected += ", at most " + std::to_string(most);
        refuse(name, expected, described(value));
    }
    return number;
}

inline int threads_of(nb::handle value) {
    return static_cast<int>(whole_of("threads", value, 1, std::numeric_limits<int>::max()));
}

// bfloat16 by DLPack; NumPy, which has no such type, gives its bits.
template <class AnyArray>
bool is_bfloat16(const AnyArray& array) {
    const nb::dlpack::dtype type = array.dtype();
    return type.bits == 16 && type.lanes == 1 &&
           (type.code == uint8_t(nb::dlpack::dtype_code::Bfloat) ||
            type.code == uint8_t(nb::dlpack::dtype_code::UInt));
}

inline std::string text_of(const char* name, nb::handle value) {
    std::string text;
    if (!nb::try_cast(value, text)) refuse(name, "text", described(value));
    return text;
}

inline std::optional<std::vector<int64_t>> batch_sizes_of(nb::handle value) {
    if (value.is_none()) return std::nullopt;
    std::vector<int64_t> sizes;
    if (!nb::try_cast(value, sizes, false)) refuse("batch_sizes", "whole numbers", described(value));
    return sizes;
}

}  // namespace gatewright
