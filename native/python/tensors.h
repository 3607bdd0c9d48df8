// Tensors of torch by their memory, sizes and strides, without a conversion: by the table of functions that DLPack
// defines for this (`__dlpack_c_exchange_api__`, version 1), and of which torch gives one with its class of
// tensors.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <initializer_list>

namespace gatewright {

namespace nb = nanobind;

// The layouts of dlpack.h, version 1.
struct DlpackVersion {
    uint32_t major, minor;
};

struct OwnedTensor {
    DlpackVersion version;
    void* context;
    void (*deleter)(OwnedTensor*);
    uint64_t flags;
    nb::dlpack::dltensor tensor;
};

struct TensorFunctions {
    DlpackVersion version;
    const void* older;
    int (*allocate)(nb::dlpack::dltensor*, OwnedTensor**, void*, void (*)(void*, const char*, const char*));
    int (*own)(void* object, OwnedTensor** result);
    int (*to_python)(OwnedTensor*, void** object);
    int (*read)(void* object, nb::dlpack::dltensor* result);
    int (*stream)(int32_t device_type, int32_t device, void** result);
};

// Where torch's functions and classes are known: what `tensor_access` has been called with.
class TensorAccess {
  public:
    // False where the table is of another version, or lacks a function.
    bool set(const TensorFunctions* functions, PyTypeObject* tensor, PyTypeObject* parameter);
    // A plain tensor of the CPU with memory of its own; no error is set otherwise.
    bool read(PyObject* object, nb::dlpack::dltensor& tensor) const;
    // Keeps the memory of a tensor, whatever becomes of it: null, and an error is set, where that fails.
    OwnedTensor* own(PyObject* object) const;

  private:
    const TensorFunctions* functions_ = nullptr;
    PyTypeObject* tensor_ = nullptr;  // kept for as long as the process runs, as is the table
    PyTypeObject* parameter_ = nullptr;
    PyObject* is_neg_ = nullptr;
};

// Whether a tensor is of type T and of these sizes, the last dimension contiguous; `whole`: all of them.
template <class T>
bool fits(const nb::dlpack::dltensor& tensor, std::initializer_list<int64_t> shape, bool whole = true) {
    if (tensor.dtype != nb::dtype<T>() || tensor.ndim != static_cast<int32_t>(shape.size())) return false;
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
