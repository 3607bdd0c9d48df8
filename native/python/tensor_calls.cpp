// Layers over torch's tensors as they are: one call that looks at each tensor once, and converts none.
//
// False in place of a result: something is not the plain case, and nothing was done.  The caller then takes the
// way that knows all cases and says what is wrong.
#include <algorithm>
#include <atomic>
#include <memory>
#include <new>
#include <vector>

#include "kernels/dispatch.h"
#include "kernels/sequence.h"
#include "python/gil.h"
#include "python/tensors.h"
#include "support/workspace.h"

namespace gatewright {

using nb::dlpack::dltensor;

namespace {

// A method without arguments.
PyObject* called(PyObject* object, PyObject* method) {
    return PyObject_VectorcallMethod(method, &object, 1 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr);
}

}  // namespace

bool TensorAccess::set(const TensorFunctions* functions, PyTypeObject* tensor, PyTypeObject* parameter) {
    if (!functions || functions->version.major != 1 || !functions->read) return false;
    is_neg_ = PyUnicode_InternFromString("is_neg");
    detach_ = PyUnicode_InternFromString("detach");
    Py_INCREF(reinterpret_cast<PyObject*>(tensor));
    Py_INCREF(reinterpret_cast<PyObject*>(parameter));
    functions_ = functions;
    tensor_ = tensor;
    parameter_ = parameter;
    return is_neg_ && detach_;
}

bool TensorAccess::read(PyObject* object, dltensor& tensor) const {
    if (Py_TYPE(object) != tensor_ && Py_TYPE(object) != parameter_) return false;
    // A view of the negative looks like its base to DLPack.
    PyObject* const negative = called(object, is_neg_);
    if (!negative) PyErr_Clear();
    Py_XDECREF(negative);  // False lives on
    if (negative != Py_False) return false;
    if (functions_->read(object, &tensor) != 0) {  // without memory: of another layout, or of a transform
        PyErr_Clear();
        return false;
    }
    tensor.data = static_cast<char*>(tensor.data) + tensor.byte_offset;
    return tensor.device.device_type == nb::device::cpu::value && tensor.data;
}

const void* TensorAccess::memory(PyObject* object) const {
    dltensor tensor;
    if (functions_->read(object, &tensor) == 0) return static_cast<char*>(tensor.data) + tensor.byte_offset;
    PyErr_Clear();
    return nullptr;
}

PyObject* TensorAccess::alias(PyObject* object) const { return called(object, detach_); }

namespace {

constexpr int64_t kShort = 1 << 18;  // multiply-adds of a call, packing included, that keeps Python's lock

// What the latest `tensor_access` made known, never freed: other threads may be at it.  Null before the first.
std::atomic<const TensorAccess*> known{nullptr};

const TensorAccess& access() { return *known.load(std::memory_order_acquire); }

enum class Outcome { done, unfit, error };

// The tensors of a call, and their memory while Python's lock is released: other threads may do with the tensors
// what they like, also give them other memory (`parameter.data = ...`), which frees what they had.
class Tensors {
  public:
    Tensors() = default;
    ~Tensors() {
        for (PyObject* const each : aliases_) Py_DECREF(each);
    }
    Tensors(const Tensors&) = delete;
    Tensors& operator=(const Tensors&) = delete;

    bool read(PyObject* object, dltensor& tensor) {
        if (!access().read(object, tensor)) return false;
        read_.push_back({object, tensor.data});
        return true;
    }

    // The memory of a tensor of type T and of these sizes, or null.
    template <class T>
    T* dense(PyObject* object, std::initializer_list<int64_t> shape) {
        dltensor tensor;
        return read(object, tensor) && fits<T>(tensor, shape) ? static_cast<T*>(tensor.data) : nullptr;
    }

    // Whether a tensor or None fits; None is null.
    template <class T>
    bool maybe(PyObject* object, std::initializer_list<int64_t> shape, T*& data) {
        data = object == Py_None ? nullptr : dense<T>(object, shape);
        return data || object == Py_None;
    }

    // Whether all of them have the memory that was read; to be used before the lock is free again.
    bool unchanged() const {
        return std::all_of(read_.begin(), read_.end(),
                           [](const Read& each) { return access().memory(each.object) == each.memory; });
    }

    // Keeps the memory that was read, whatever becomes of the tensors.
    Outcome keep() {
        aliases_.reserve(read_.size());
        for (const Read& each : read_) {
            PyObject* const alias = access().alias(each.object);
            if (!alias) return Outcome::error;
            aliases_.push_back(alias);
            if (access().memory(alias) != each.memory) return Outcome::unfit;
        }
        return Outcome::done;
    }

  private:
    struct Read {
        PyObject* object;
        const void* memory;
    };
    std::vector<Read> read_;
    std::vector<PyObject*> aliases_;
};

// The arithmetic of a call, as `gatewright.nn.precision` counts it: products as the tensors are, or of bfloat16
// with what the backward pass reads kept in float32 or in bfloat16.
enum class Compute { full, bf16_kept_float32, bf16 };

// The stack that a call is of, in numbers.
struct Stack {
    int64_t D, H, P, layers;
    bool bias, projected;
    int threads;
    Compute compute;

    int64_t weights() const { return 2 + 2 * bias + projected; }  // of a layer
};

// D, H, P (0: no projection), layers, bias, threads, compute.
constexpr int kStackNumbers = 7;

bool stack_of(PyObject* const* numbers, Stack& stack) {
    int64_t values[kStackNumbers];
    for (int k = 0; k < kStackNumbers; ++k) {
        values[k] = PyLong_AsLongLong(numbers[k]);
        if (values[k] == -1 && PyErr_Occurred()) {
            PyErr_Clear();
            return false;
        }
    }
    const auto [D, H, P, layers, bias, threads, compute] = values;
    constexpr int64_t most = 1 << 28;  // products of sizes stay numbers
    if (D < 1 || D > most || H < 1 || H > most || P < 0 || P > most || layers < 1 || layers > most ||
        threads < 1 || compute < 0 || compute > static_cast<int64_t>(Compute::bf16))
        return false;
    const int most_threads = static_cast<int>(std::min<int64_t>(threads, 1 << 16));
    stack = {D, H, P ? P : H, layers, bias != 0, P != 0, most_threads, static_cast<Compute>(compute)};
    return true;
}

// Weights of one layer, from the first on, in the order of torch.
template <class T, class S>
bool weights_of(Tensors& tensors, PyObject* tuple, int64_t first, const Stack& n, int64_t D,
                Weights<T, S>& weights) {
    weights = {};
    const auto next = [&](std::initializer_list<int64_t> shape, auto& data) {
        const T* const memory = tensors.dense<T>(PyTuple_GetItem(tuple, first++), shape);
        data = memory;
        return memory != nullptr;
    };
    if (!next({4 * n.H, D}, weights.W_ih) || !next({4 * n.H, n.P}, weights.W_hh)) return false;
    if (n.bias && (!next({4 * n.H}, weights.b_ih) || !next({4 * n.H}, weights.b_hh))) return false;
    return !n.projected || next({n.P, n.H}, weights.W_hr);
}

// x, dy or dx: (T, B, width), or (T, width) for a batch of one row without its dimension.
template <class T>
bool rows_of(Tensors& tensors, PyObject* object, const Sizes& n, int64_t width, bool batched, Rows<T>& rows) {
    dltensor tensor;
    rows = {nullptr, 0, 0};
    if (object == Py_None) return true;
    using Plain = std::remove_const_t<T>;
    if (!tensors.read(object, tensor)) return false;
    if (!(batched ? fits<Plain>(tensor, {n.T, n.B, width}, false) : fits<Plain>(tensor, {n.T, width}, false)))
        return false;
    rows = {static_cast<T*>(tensor.data), tensor.strides[0], batched ? tensor.strides[1] : 0};
    return true;
}

// Sizes of a call, off its input: (T, B, D) or (T, D).
bool sizes_of(const dltensor& x, const Stack& stack, Sizes& n) {
    const bool batched = x.ndim == 3;
    if (x.ndim != 2 && !batched) return false;
    n = {x.shape[0], batched ? x.shape[1] : 1, stack.D, stack.H, stack.P, stack.projected};
    return n.T > 0 && n.B > 0;
}

// States: (layers, B, width), or (layers, width) where x has no B.
template <class T>
bool states_of(Tensors& tensors, PyObject* object, const Stack& stack, const Sizes& n, int64_t width, bool batched,
               T*& data) {
    return batched ? tensors.maybe<T>(object, {stack.layers, n.B, width}, data)
                   : tensors.maybe<T>(object, {stack.layers, width}, data);
}

// What the backward pass reads, gates of all rows and then their cell states; None is null.
template <class T, class S>
bool kept_of(Tensors& tensors, PyObject* object, const Stack& stack, int64_t rows, typename Stored<S>::Out& data) {
    const std::initializer_list<int64_t> shape = {stack.layers, rows, 5 * stack.H};
    data = nullptr;
    if (kPairs<S> && stack.compute == Compute::bf16) {
        BFloat16* numbers;
        if (!tensors.maybe<BFloat16>(object, shape, numbers)) return false;
        if constexpr (kPairs<S>) data = numbers;
        return true;
    }
    T* numbers;
    if (!tensors.maybe<T>(object, shape, numbers)) return false;
    data = numbers;
    return true;
}

#if defined(Py_GIL_DISABLED)
constexpr bool kLocked = false;  // Python has no lock that keeps other threads from the tensors
#else
constexpr bool kLocked = true;
#endif

// Runs with Python's lock where that is over sooner than a thread could make use of it.
template <class Run>
Outcome run_unlocked(Tensors& tensors, const Stack& stack, const Sizes& n, const Run& run) {
    if (kLocked && (n.T * n.B + 1) * 4 * n.H * (stack.D + n.P) * stack.layers < kShort) {
        if (!tensors.unchanged()) return Outcome::unfit;
        run();
        return Outcome::done;
    }
    if (const Outcome kept = tensors.keep(); kept != Outcome::done) return kept;
    const Unlocked released;
    run();
    return Outcome::done;
}

struct ForwardArgs {
    PyObject *x, *h_0, *c_0, *weights, *y, *h_n, *c_n, *kept;
};

template <class T, class S = T>
Outcome forward_of(const Stack& stack, const ForwardArgs& args, Tensors& tensors, const dltensor& first) {
    Sizes n;
    if (!sizes_of(first, stack, n)) return Outcome::unfit;
    const bool batched = first.ndim == 3;
    const int64_t rows = n.T * n.B, count = stack.weights();
    Rows<const T> x;
    T *h_0, *c_0, *h_n, *c_n;
    Rows<T> y;
    typename Stored<S>::Out kept = nullptr;
    if (!rows_of(tensors, args.x, n, n.D, batched, x) ||
        !states_of(tensors, args.h_0, stack, n, n.P, batched, h_0) ||
        !states_of(tensors, args.c_0, stack, n, n.H, batched, c_0) ||
        !states_of(tensors, args.h_n, stack, n, n.P, batched, h_n) || !h_n ||
        !states_of(tensors, args.c_n, stack, n, n.H, batched, c_n) || !c_n ||
        !rows_of(tensors, args.y, n, n.P, batched, y) || !y.data ||
        !kept_of<T, S>(tensors, args.kept, stack, rows, kept))
        return Outcome::unfit;
    std::vector<Weights<T, S>> weights(stack.layers);
    for (int64_t k = 0; k < stack.layers; ++k)
        if (!weights_of(tensors, args.weights, k * count, stack, k ? n.P : n.D, weights[k])) return Outcome::unfit;
    const Kernels<T, S>& kernels = forward_kernels_for<T, S>(target(), n.H);
    return run_unlocked(tensors, stack, n, [&] {
        const int64_t between = stack.layers > 1 ? rows * n.P : 0;
        const Workspace<T> hidden[2] = {Workspace<T>(between), Workspace<T>(stack.layers > 2 ? between : 0)};
        expect_writes(y.data, rows * n.P * sizeof(T));
        for (int64_t k = 0; k < stack.layers; ++k) {
            ForwardCall<T, S> call{};
            call.sizes = n;
            call.steps = {n.T, n.B, nullptr, nullptr, false};
            call.weights = weights[k];
            call.x = {x.data, x.step, x.row};
            if (k > 0) {
                call.sizes.D = n.P;
                call.x = {hidden[(k - 1) % 2].get(), n.B * n.P, n.P};
            }
            call.h_0 = h_0 ? h_0 + k * n.B * n.P : nullptr;
            call.c_0 = c_0 ? c_0 + k * n.B * n.H : nullptr;
            call.y = {hidden[k % 2].get(), n.B * n.P, n.P};
            if (k + 1 == stack.layers) call.y = {y.data, y.step, y.row};
            call.h_n = h_n + k * n.B * n.P;
            call.c_n = c_n + k * n.B * n.H;
            if (kept) {
                call.gates = kept + k * rows * 5 * n.H;
                call.cell = call.gates + rows * 4 * n.H;
            }
            call.threads = stack.threads;
            run_forward(kernels, call);
        }
    });
}

struct BackwardArgs {
    PyObject *dy, *dh_n, *dc_n, *x, *h_0, *c_0, *y, *kept, *weights, *dx, *dh_0, *dc_0, *d_weights;
};

template <class T, class S = T>
Outcome backward_of(const Stack& stack, const BackwardArgs& args, Tensors& tensors, const dltensor& first) {
    Sizes n;
    if (!sizes_of(first, stack, n) || stack.layers != 1) return Outcome::unfit;
    const bool batched = first.ndim == 3;
    const int64_t rows = n.T * n.B;
    BackwardCall<T, S> call{};
    call.sizes = n;
    call.steps = {n.T, n.B, nullptr, nullptr, false};
    T *dh_n, *dc_n, *h_0, *c_0, *dh_0, *dc_0;
    Rows<const T> x, y, dy;
    Rows<T> dx;
    typename Stored<S>::Out kept = nullptr;
    if (!rows_of(tensors, args.dy, n, n.P, batched, dy) ||
        !states_of(tensors, args.dh_n, stack, n, n.P, batched, dh_n) ||
        !states_of(tensors, args.dc_n, stack, n, n.H, batched, dc_n) ||
        !rows_of(tensors, args.x, n, n.D, batched, x) ||
        !states_of(tensors, args.h_0, stack, n, n.P, batched, h_0) ||
        !states_of(tensors, args.c_0, stack, n, n.H, batched, c_0) ||
        !rows_of(tensors, args.y, n, n.P, batched, y) || !y.data ||
        !kept_of<T, S>(tensors, args.kept, stack, rows, kept) || !kept ||
        !weights_of(tensors, args.weights, 0, stack, n.D, call.weights) ||
        !rows_of(tensors, args.dx, n, n.D, batched, dx) ||
        !states_of(tensors, args.dh_0, stack, n, n.P, batched, dh_0) ||
        !states_of(tensors, args.dc_0, stack, n, n.H, batched, dc_0))
        return Outcome::unfit;
    Weights<T> d_weights{};
    if (args.d_weights != Py_None && !weights_of(tensors, args.d_weights, 0, stack, n.D, d_weights))
        return Outcome::unfit;
    call.x = {x.data, x.step, x.row};
    call.y = {y.data, y.step, y.row};
    call.dy = {dy.data, dy.step, dy.row};
    call.dx = {dx.data, dx.step, dx.row};
    call.gates = kept;
    call.cell = kept + rows * 4 * n.H;
    call.dh_n = dh_n;
    call.dc_n = dc_n;
    call.dW_ih = const_cast<T*>(d_weights.W_ih);
    call.dW_hh = const_cast<T*>(d_weights.W_hh);
    call.db = const_cast<T*>(d_weights.b_ih);
    call.dW_hr = const_cast<T*>(d_weights.W_hr);
    call.threads = stack.threads;
    const Kernels<T, S>& kernels = kernels_for<T, S>(target(), n.H);
    return run_unlocked(tensors, stack, n, [&] {
        const int64_t h_size = n.B * n.P, c_size = n.B * n.H;
        const Workspace<T> zeros(h_0 && c_0 ? 0 : h_size + c_size);
        if (zeros.get()) std::fill_n(zeros.get(), h_size + c_size, T(0));
        call.h_0 = h_0 ? h_0 : zeros.get();
        call.c_0 = c_0 ? c_0 : zeros.get() + h_size;
        call.dh_0 = dh_0;
        call.dc_0 = dc_0;
        expect_writes(dx.data, dx.data ? rows * n.D * sizeof(T) : 0);
        run_backward(kernels, call);
        if (d_weights.b_hh) std::copy_n(d_weights.b_ih, 4 * n.H, const_cast<T*>(d_weights.b_hh));
    });
}

// The lists of a call, each held with its items: another thread may change a list meanwhile.
class Items {
  public:
    explicit Items(PyObject* list) : tuple_(PySequence_Tuple(list)) {
        if (!tuple_) PyErr_Clear();
    }
    ~Items() { Py_XDECREF(tuple_); }
    Items(const Items&) = delete;
    Items& operator=(const Items&) = delete;
    bool has(int64_t count) const { return tuple_ && PyTuple_Size(tuple_) == count; }
    PyObject* tuple() const { return tuple_; }

  private:
    PyObject* const tuple_;
};

PyObject* answer(Outcome outcome) {
    if (outcome == Outcome::error) return nullptr;
    return Py_NewRef(outcome == Outcome::done ? Py_True : Py_False);
}

template <class Work>
PyObject* guarded(const Work& work) {
    try {
        return answer(work());
    } catch (const std::bad_alloc&) {
        return PyErr_NoMemory();
    } catch (const std::exception& error) {
        PyErr_SetString(PyExc_RuntimeError, error.what());
        return nullptr;
    }
}

PyObject* tensor_forward(PyObject*, PyObject* const* given, Py_ssize_t count) {
    if (count != 8 + kStackNumbers)
        return PyErr_Format(PyExc_TypeError, "tensor_forward takes 15 arguments, not %zd", count);
    return guarded([&] {
        Stack stack;
        if (!stack_of(given + 8, stack)) return Outcome::unfit;
        const Items weights(given[3]);
        if (!weights.has(stack.layers * stack.weights())) return Outcome::unfit;
        const ForwardArgs args{given[0], given[1], given[2], weights.tuple(),
                               given[4], given[5], given[6], given[7]};
        if (!known.load(std::memory_order_acquire)) return Outcome::unfit;
        Tensors tensors;
        dltensor x;
        if (!access().read(args.x, x)) return Outcome::unfit;
        if (x.dtype == nb::dtype<float>())
            return stack.compute == Compute::full ? forward_of<float>(stack, args, tensors, x)
                                                  : forward_of<float, BFloat16>(stack, args, tensors, x);
        if (x.dtype == nb::dtype<double>() && stack.compute == Compute::full)
            return forward_of<double>(stack, args, tensors, x);
        return Outcome::unfit;
    });
}

PyObject* tensor_backward(PyObject*, PyObject* const* given, Py_ssize_t count) {
    if (count != 13 + kStackNumbers)
        return PyErr_Format(PyExc_TypeError, "tensor_backward takes 20 arguments, not %zd", count);
    return guarded([&] {
        Stack stack;
        if (!stack_of(given + 13, stack)) return Outcome::unfit;
        const Items weights(given[8]), d_weights(given[12] == Py_None ? given[8] : given[12]);
        if (!weights.has(stack.weights()) || !d_weights.has(stack.weights())) return Outcome::unfit;
        PyObject* const d = given[12] == Py_None ? Py_None : d_weights.tuple();
        const BackwardArgs args{given[0], given[1],        given[2], given[3],  given[4],  given[5], given[6],
                                given[7], weights.tuple(), given[9], given[10], given[11], d};
        if (!known.load(std::memory_order_acquire)) return Outcome::unfit;
        Tensors tensors;
        dltensor x;
        if (!access().read(args.x, x)) return Outcome::unfit;
        if (x.dtype == nb::dtype<float>())
            return stack.compute == Compute::full ? backward_of<float>(stack, args, tensors, x)
                                                  : backward_of<float, BFloat16>(stack, args, tensors, x);
        if (x.dtype == nb::dtype<double>() && stack.compute == Compute::full)
            return backward_of<double>(stack, args, tensors, x);
        return Outcome::unfit;
    });
}

// Called with torch's table of functions (a capsule), its class of tensors and its class of parameters.
PyObject* tensor_access(PyObject*, PyObject* const* given, Py_ssize_t count) {
    if (count != 3 || !PyCapsule_IsValid(given[0], "dlpack_exchange_api") || !PyType_Check(given[1]) ||
        !PyType_Check(given[2]))
        Py_RETURN_FALSE;
    const auto* const functions =
        static_cast<const TensorFunctions*>(PyCapsule_GetPointer(given[0], "dlpack_exchange_api"));
    auto fresh = std::make_unique<TensorAccess>();
    if (!fresh->set(functions, reinterpret_cast<PyTypeObject*>(given[1]),
                    reinterpret_cast<PyTypeObject*>(given[2])))
        Py_RETURN_FALSE;
    known.store(fresh.release(), std::memory_order_release);
    Py_RETURN_TRUE;
}

template <PyObject* (*call)(PyObject*, PyObject* const*, Py_ssize_t)>
PyMethodDef entry(const char* name) {
    return {name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(call)), METH_FASTCALL, nullptr};
}

PyMethodDef entries[] = {entry<tensor_forward>("tensor_forward"),
                         entry<tensor_backward>("tensor_backward"),
                         entry<tensor_access>("tensor_access"),
                         {nullptr, nullptr, 0, nullptr}};

}  // namespace

void bind_tensor_calls(nb::module_& m) {
    // Bytes for what a pass keeps, from the memory of calls before, to which they go back when Python drops them.
    m.def("room", [](size_t bytes) {
        auto* const memory = static_cast<uint8_t*>(take_memory(bytes ? bytes : 1));
        const nb::capsule owner(memory, [](void* block) noexcept { give_memory(block); });
        return nb::cast(nb::ndarray<nb::numpy, uint8_t>(memory, {bytes}, owner));
    });
    if (PyModule_AddFunctions(m.ptr(), entries) != 0) throw nb::python_error();
}

}  // namespace gatewright
