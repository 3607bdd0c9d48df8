// Tensors of torch by their memory, sizes and strides, without a conversion: by the table of functions that DLPack
// defines for this (`__dlpack_c_exchange_api__`, version 1), and of which torch gives one with its class of
// tensors.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <initializer_list>
#include <type_traits>

#include "kernels/storage.h"

namespace gatewright {

namespace nb = nanobind;

// The layouts of dlpack.h, version 1.
struct DlpackVersion {
    uint32_t major, minor;
};

struct TensorFunctions {
    DlpackVersion version;
    const void* older;
    const void *allocate, *own, *to_python;
    int (*read)(void* object, nb::dlpack::dltensor* result);
    int (*stream)(int32_t device_type, int32_t device, void** result);
};

// Where torch's functions and classes are known: what `tensor_access` has been called with.
class TensorAccess {
  public:
    // False where the table is of another version, or lacks a function.
    bool set(const TensorFunctions* functions, PyTypeObject* tensor, PyTypeObject* parameter);
    // A plain tensor of the CPU with memory of its own; no error is set otherwise.  Python's lock is free for a
    // moment.
    bool read(PyObject* object, nb::dlpack::dltensor& tensor) const;
    // Where the memory of a tensor that has been read begins by now, or null; the lock is kept.
    const void* memory(PyObject* object) const;
    // Another tensor of the same memory, which nobody else knows: null, and an error is set, where that fails.
    PyObject* alias(PyObject* object) const;

  private:
    const TensorFunctions* functions_ = nullptr;
    PyTypeObject* tensor_ = nullptr;  // kept for as long as the process runs, as is the table
    PyTypeObject* parameter_ = nullptr;
    PyObject *is_neg_ = nullptr, *detach_ = nullptr;
};

// The type of numbers of T.
template <class T>
nb::dlpack::dtype number_type() {
    if constexpr (std::is_same_v<T, BFloat16>)
        return {static_cast<uint8_t>(nb::dlpack::dtype_code::Bfloat), 16, 1};
    else
        return nb::dtype<T>();
}

// Whether a tensor is of type T and of these sizes, the last dimension contiguous; `whole`: all of them.
template <class T>
bool fits(const nb::dlpack::dltensor& tensor, std::initializer_list<int64_t> shape, bool whole = true) {
    if (tensor.dtype != number_type<T>() || tensor.ndim != static_cast<int32_t>(shape.size())) return false;
    int64_t dense = 1;
    for (int32_t k = tensor.ndim; k-- > 0;) {
        const int64_t size = shape.begin()[k];
        if (tensor.shape[k] != size || size < 1) return false;
        if ((whole || k + 1 == tensor.ndim) && size > 1 && tensor.strides[k] != dense) return false;
        dense *= size;
    }
    return true;
}

void bind_tensor_calls(nb::module_& m);

}  // namespace gatewright
