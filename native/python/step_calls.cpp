// Methods of `gatewright.Stream` that begin in native code: a small step takes no longer than Python takes to call
// a function, to make an array and to look into one.
//
// A method of this kind is a Python function, with its name, documentation and signature, that is called only
// where the arguments are not the plain ones: NumPy arrays of the very type and shape that a step reads.
#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#include <Python.h>
#include <numpy/arrayobject.h>
#include <structmember.h>

#include <exception>
#include <new>

#include "python/stream_bindings.h"

namespace gatewright {

namespace nb = nanobind;

namespace {

PyTypeObject* steps_type = nullptr;  // of DirectSteps; kept for as long as the process runs
PyObject* steps_name = nullptr;      // the attribute of a stream that has its DirectSteps

// What the methods of one stream need of it; the attribute `_direct` of a `gatewright.Stream`.
struct DirectSteps {
    PyObject_HEAD PyObject* owner;  // of the stream
    Stream* stream;
    int in_type, out_type, in_dimensions, out_dimensions;
    npy_intp in_size, out_shape[8];
    bool step, step_into;  // whether the methods may take the arrays as they are
};

void steps_dealloc(PyObject* object) {
    PyTypeObject* const type = Py_TYPE(object);
    Py_XDECREF(reinterpret_cast<DirectSteps*>(object)->owner);
    PyObject_Free(object);
    Py_DECREF(type);
}

bool shape_of(PyObject* shape, DirectSteps& steps) {
    if (!PyTuple_Check(shape) || PyTuple_Size(shape) > 8) return false;
    steps.out_dimensions = static_cast<int>(PyTuple_Size(shape));
    npy_intp size = 1;
    for (int k = 0; k < steps.out_dimensions; ++k) {
        steps.out_shape[k] = PyLong_AsSsize_t(PyTuple_GetItem(shape, k));
        if (steps.out_shape[k] < 0) return false;
        size *= steps.out_shape[k];
    }
    return !PyErr_Occurred() && size == steps.stream->model().output_width();
}

// direct_steps(native stream, shape of the output of a step, step, step_into)
PyObject* make_steps(PyObject*, PyObject* const* given, Py_ssize_t count) {
    Stream* stream = nullptr;
    if (count != 4 || !nb::try_cast(nb::handle(given[0]), stream) || !stream)
        return PyErr_Format(PyExc_TypeError, "direct_steps takes a stream, a shape and two flags");
    DirectSteps* const steps = PyObject_New(DirectSteps, steps_type);
    if (!steps) return nullptr;
    const Model& model = stream->model();
    steps->owner = Py_NewRef(given[0]);
    steps->stream = stream;
    const bool series = model.reads == Reads::series, symbols = model.reads == Reads::symbols;
    steps->in_type = symbols ? NPY_INT64 : series ? NPY_FLOAT64 : NPY_FLOAT32;
    steps->out_type = series ? NPY_FLOAT64 : NPY_FLOAT32;
    steps->in_dimensions = symbols ? 0 : 1;
    steps->in_size = model.input_width();
    steps->step = given[2] == Py_True;
    steps->step_into = given[3] == Py_True;
    if (shape_of(given[1], *steps)) return reinterpret_cast<PyObject*>(steps);
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "shape: another size than that of the output");
    Py_DECREF(steps);
    return nullptr;
}

// The DirectSteps of a stream, or null where it has none; kept for as long as this lives, since another thread may
// give the stream another one meanwhile.
class Held {
  public:
    explicit Held(PyObject* stream) : steps_(PyObject_GetAttr(stream, steps_name)) {
        if (!steps_) PyErr_Clear();
    }
    ~Held() { Py_XDECREF(steps_); }
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;

    const DirectSteps* get() const {
        return steps_ && Py_TYPE(steps_) == steps_type ? reinterpret_cast<const DirectSteps*>(steps_) : nullptr;
    }

  private:
    PyObject* const steps_;
};

bool takes(const DirectSteps& steps, PyObject* x) {
    if (!PyArray_CheckExact(x)) return false;
    const auto* const array = reinterpret_cast<const PyArrayObject*>(x);
    return PyArray_TYPE(array) == steps.in_type && PyArray_NDIM(array) == steps.in_dimensions &&
           PyArray_SIZE(const_cast<PyArrayObject*>(array)) == steps.in_size && PyArray_ISCARRAY_RO(array);
}

bool gives(const DirectSteps& steps, PyObject* out) {
    if (!PyArray_CheckExact(out)) return false;
    const auto* const array = reinterpret_cast<const PyArrayObject*>(out);
    return PyArray_TYPE(array) == steps.out_type && PyArray_NDIM(array) == steps.out_dimensions &&
           PyArray_CompareLists(PyArray_DIMS(array), steps.out_shape, steps.out_dimensions) &&
           PyArray_ISCARRAY(array);
}

// False: an error is set.
bool advance(const DirectSteps& steps, PyObject* x, PyObject* out) {
    try {
        step_once(*steps.stream, PyArray_DATA(reinterpret_cast<PyArrayObject*>(x)),
                  PyArray_DATA(reinterpret_cast<PyArrayObject*>(out)));
        return true;
    } catch (nb::python_error& error) {
        error.restore();
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
    } catch (const std::exception& error) {
        PyErr_SetString(PyExc_RuntimeError, error.what());
    }
    return false;
}

// step(stream, x): the output in a new array.
bool step(PyObject* const* arguments, PyObject*& result) {
    const Held held(arguments[0]);
    const DirectSteps* const steps = held.get();
    if (!steps || !steps->step || !takes(*steps, arguments[1])) return false;
    result = PyArray_SimpleNew(steps->out_dimensions, steps->out_shape, steps->out_type);
    if (result && !advance(*steps, arguments[1], result)) Py_CLEAR(result);
    return true;
}

// step_into(stream, x, out)
bool step_into(PyObject* const* arguments, PyObject*& result) {
    const Held held(arguments[0]);
    const DirectSteps* const steps = held.get();
    if (!steps || !steps->step_into || !takes(*steps, arguments[1]) || !gives(*steps, arguments[2])) return false;
    result = advance(*steps, arguments[1], arguments[2]) ? Py_NewRef(Py_None) : nullptr;
    return true;
}

// A function of Python with a native beginning, as a method of a class.
struct Method {
    PyObject_HEAD vectorcallfunc call;
    PyObject* function;
    Py_ssize_t arguments;                                // of the plain call, the stream included
    bool (*begin)(PyObject* const*, PyObject*& result);  // false, and nothing done: the function's turn
};

PyTypeObject* method_type = nullptr;
PyObject* bound_type = nullptr;  // types.MethodType

PyObject* method_call(PyObject* callable, PyObject* const* arguments, size_t flags, PyObject* names) {
    const auto* const method = reinterpret_cast<const Method*>(callable);
    PyObject* result = nullptr;
    const auto count = static_cast<Py_ssize_t>(flags & ~PY_VECTORCALL_ARGUMENTS_OFFSET);
    if (!names && count == method->arguments && method->begin(arguments, result)) return result;
    return PyObject_Vectorcall(method->function, arguments, flags, names);
}

PyObject* method_get(PyObject* method, PyObject* instance, PyObject*) {
    if (!instance || instance == Py_None) return Py_NewRef(method);
    PyObject* const arguments[] = {method, instance};
    return PyObject_Vectorcall(bound_type, arguments, 2, nullptr);
}

// Name, documentation, annotations and all else are the function's.
PyObject* method_attribute(PyObject* method, PyObject* name) {
    PyObject* const own = PyObject_GenericGetAttr(method, name);
    if (own || !PyErr_ExceptionMatches(PyExc_AttributeError)) return own;
    PyErr_Clear();
    return PyObject_GetAttr(reinterpret_cast<Method*>(method)->function, name);
}

PyObject* method_part(PyObject* method, void* name) {
    return PyObject_GetAttrString(reinterpret_cast<Method*>(method)->function, static_cast<const char*>(name));
}

PyObject* method_reduce(PyObject* method, PyObject*) {
    return PyObject_GetAttrString(reinterpret_cast<Method*>(method)->function, "__qualname__");
}

int method_traverse(PyObject* object, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(reinterpret_cast<Method*>(object)->function);
    return 0;
}

int method_clear(PyObject* object) {
    Py_CLEAR(reinterpret_cast<Method*>(object)->function);
    return 0;
}

void method_dealloc(PyObject* object) {
    PyTypeObject* const type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    method_clear(object);
    PyObject_GC_Del(object);
    Py_DECREF(type);
}

PyObject* make_method(PyObject* function, Py_ssize_t arguments, bool (*begin)(PyObject* const*, PyObject*&)) {
    Method* const method = PyObject_GC_New(Method, method_type);
    if (!method) return nullptr;
    method->call = method_call;
    method->function = Py_NewRef(function);
    method->arguments = arguments;
    method->begin = begin;
    PyObject_GC_Track(method);
    return reinterpret_cast<PyObject*>(method);
}

PyObject* native_step(PyObject*, PyObject* function) { return make_method(function, 2, step); }
PyObject* native_step_into(PyObject*, PyObject* function) { return make_method(function, 3, step_into); }

PyTypeObject* make_type(const char* name, size_t size, unsigned long flags, PyType_Slot* slots) {
    PyType_Spec spec{name, static_cast<int>(size), 0, static_cast<unsigned int>(Py_TPFLAGS_DEFAULT | flags),
                     slots};
    PyObject* const type = PyType_FromSpec(&spec);
    if (!type) throw nb::python_error();
    return reinterpret_cast<PyTypeObject*>(type);
}

template <class Function>
void* slot(Function* function) {
    return reinterpret_cast<void*>(function);
}

PyTypeObject* make_method_type() {
    static PyMemberDef members[] = {
        {"__vectorcalloffset__", T_PYSSIZET, offsetof(Method, call), READONLY, nullptr},
        {"__wrapped__", T_OBJECT, offsetof(Method, function), READONLY, nullptr},
        {nullptr, 0, 0, 0, nullptr}};
    static char doc[] = "__doc__", module[] = "__module__";
    static PyGetSetDef parts[] = {{doc, method_part, nullptr, nullptr, doc},
                                  {module, method_part, nullptr, nullptr, module},
                                  {nullptr, nullptr, nullptr, nullptr, nullptr}};
    static PyMethodDef methods[] = {{"__reduce__", method_reduce, METH_NOARGS, nullptr},
                                    {nullptr, nullptr, 0, nullptr}};
    PyType_Slot slots[] = {{Py_tp_call, slot(PyVectorcall_Call)},
                           {Py_tp_descr_get, slot(method_get)},
                           {Py_tp_getattro, slot(method_attribute)},
                           {Py_tp_members, members},
                           {Py_tp_getset, parts},
                           {Py_tp_methods, methods},
                           {Py_tp_traverse, slot(method_traverse)},
                           {Py_tp_clear, slot(method_clear)},
                           {Py_tp_dealloc, slot(method_dealloc)},
                           {0, nullptr}};
    const unsigned long flags = Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR;
    return make_type("gatewright._kernels.method", sizeof(Method), flags, slots);
}

PyMethodDef entries[] = {{"direct_steps", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(make_steps)),
                          METH_FASTCALL, nullptr},
                         {"native_step", native_step, METH_O, nullptr},
                         {"native_step_into", native_step_into, METH_O, nullptr},
                         {nullptr, nullptr, 0, nullptr}};

}  // namespace

void bind_step_calls(nb::module_& m) {
    if (_import_array() < 0) throw nb::python_error();
    PyType_Slot slots[] = {{Py_tp_dealloc, slot(steps_dealloc)}, {0, nullptr}};
    steps_type = make_type("gatewright._kernels.DirectSteps", sizeof(DirectSteps),
                           Py_TPFLAGS_DISALLOW_INSTANTIATION, slots);
    method_type = make_method_type();
    bound_type = nb::object(nb::module_::import_("types").attr("MethodType")).release().ptr();
    steps_name = PyUnicode_InternFromString("_direct");
    if (!steps_name || PyModule_AddFunctions(m.ptr(), entries) != 0) throw nb::python_error();
}

}  // namespace gatewright
