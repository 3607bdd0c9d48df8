// Python's way into streams.  Plain buffers in place of nanobind's arrays: a step takes no longer than
// their conversion would.
#include "python/stream_bindings.h"

#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/tuple.h>

#include <algorithm>
#include <cmath>

#include "python/arguments.h"
#include "stream/stream.h"

namespace gatewright {

namespace {

// A contiguous buffer of one type and size, held while this lives; or nothing, where the object is not that.
class Buffer {
  public:
    Buffer(nb::handle object, const char* type, int64_t size, bool writable) {
        const int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0);
        if (PyObject_GetBuffer(object.ptr(), &view_, flags) != 0) {
            PyErr_Clear();
            view_.obj = nullptr;
            return;
        }
        const char code = view_.format && view_.format[1] == '\0' ? view_.format[0] : '?';
        const bool same = type[0] == 'i' ? (code == 'l' || code == 'q') && view_.itemsize == 8
                                         : code == (type[5] == '3' ? 'f' : 'd');
        if (!same || view_.len != size * view_.itemsize) PyBuffer_Release(&view_);  // which sets obj to null
    }
    ~Buffer() {
        if (view_.obj) PyBuffer_Release(&view_);
    }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    explicit operator bool() const { return view_.obj != nullptr; }
    int dimensions() const { return view_.ndim; }
    template <class T>
    T* as() const {
        return static_cast<T*>(view_.buf);
    }

  private:
    Py_buffer view_{};
};

// The same, where it has to be one.
struct Needed : Buffer {
    Needed(const char* name, nb::handle object, const char* type, int64_t size, bool writable)
        : Buffer(object, type, size, writable) {
        if (!*this)
            refuse(name, "a contiguous array of " + std::to_string(size) + " " + type,
                   gatewright::described(object));
    }
};

std::string described(const Advance& call, const Fault& fault) {
    const std::string place = call.T > 1 ? " at step " + std::to_string(fault.t) : "";
    return place + (call.B > 1 ? " of session " + std::to_string(call.sessions[fault.b]) : "");
}

std::string allowed_by(const Model& model, int64_t target) {
    const Transform kind = model.columns.transforms[target].kind;
    const bool positive = kind == Transform::log || kind == Transform::boxcox;
    return positive ? "a number above 0, at most 1e38" : "a number from -1e38 to 1e38";
}

[[noreturn]] void refuse_fault(const Model& model, const Advance& call, const Fault& fault, int64_t sessions) {
    const std::string session = std::to_string(call.sessions[fault.b]);
    switch (fault.kind) {
        case Fault::Kind::session:
            refuse("sessions", "numbers from 0 to " + std::to_string(sessions - 1), session);
        case Fault::Kind::repeated:
            refuse("sessions", "each session once", session + " twice");
        case Fault::Kind::symbol:
            refuse("x", "symbols from 0 to " + std::to_string(model.symbols - 1),
                   std::to_string(static_cast<const int64_t*>(call.input)[fault.t * call.B + fault.b]) +
                       described(call, fault));
        default:
            break;
    }
    const int64_t at = (fault.t * call.B + fault.b) * model.input_width() + fault.column;
    const bool series = model.reads == Reads::series;
    const double value =
        series ? static_cast<const double*>(call.input)[at] : static_cast<const float*>(call.input)[at];
    const nb::object text = nb::module_::import_("builtins").attr("repr")(value);
    if (series && fault.column < model.columns.targets && std::isfinite(value) &&
        std::isnan(model.columns.transformed(value, fault.column)))
        refuse(
            "x", "a value that the model's transform of the target allows: " + allowed_by(model, fault.column),
            nb::cast<std::string>(text) + " in column " + std::to_string(fault.column) + described(call, fault));
    const char* expected =
        series ? "finite numbers, within 1e20 standard deviations; NaN only for a target" : "finite numbers";
    if (fault.kind == Fault::Kind::category) expected = "the index of a value in each column of categories";
    refuse("x", expected,
           nb::cast<std::string>(text) + " in column " + std::to_string(fault.column) + described(call, fault));
}

// Marks a stream as in use, for as long as this lives.
class Turn {
  public:
    explicit Turn(Stream& stream) : stream_(stream) {
        if (stream_.busy.exchange(true, std::memory_order_acquire))
            refuse("stream", "one call at a time (each thread may have a copy)", "a call from a second thread");
    }
    ~Turn() { stream_.busy.store(false, std::memory_order_release); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

  private:
    Stream& stream_;
};

void advance(Stream& stream, const Advance& call, int threads) {
    const Model& model = stream.model();
    const Fault fault = stream.check(call);
    if (fault.kind != Fault::Kind::none) refuse_fault(model, call, fault, stream.sessions());
    if (call.B * call.T == 1) return stream.advance(call, 1);  // over sooner than another thread could begin
    const Unlocked released;
    stream.advance(call, threads);
}

// One step of session 0.
void advance_first(Stream& stream, const void* x, void* out) {
    constexpr int64_t session = 0;
    advance(stream, {&session, 1, 1, x, out, nullptr, nullptr}, 1);
}

const char* type_of_input(const Model& model) {
    if (model.reads == Reads::symbols) return "int64";
    return model.reads == Reads::series ? "float64" : "float32";
}

const char* type_of_output(const Model& model) { return model.reads == Reads::series ? "float64" : "float32"; }

// One step of session 0; false, and nothing done, where x and out are not the very arrays that it takes.
bool step(Stream& stream, nb::handle x, nb::handle out) {
    const Model& model = stream.model();
    const Turn turn(stream);
    const Buffer input(x, type_of_input(model), model.input_width(), false);
    const Buffer output(out, type_of_output(model), model.output_width(), true);
    if (!input || !output || input.dimensions() != (model.reads == Reads::symbols ? 0 : 1)) return false;
    advance_first(stream, input.as<void>(), output.as<void>());
    return true;
}

// T steps of some sessions; x and out (T, B, width), sessions int64.
// record: arrays for gates and cell, or None.
void run(Stream& stream, nb::handle x, nb::handle out, nb::handle sessions, int64_t T, int64_t B,
         nb::handle record, nb::handle threads_given) {
    const Model& model = stream.model();
    const int threads = threads_of(threads_given);
    const Turn turn(stream);
    const Needed named("sessions", sessions, "int64", B, false);
    const Needed input("x", x, type_of_input(model), T * B * model.input_width(), false);
    const Needed output("out", out, type_of_output(model), T * B * model.output_width(), true);
    const int64_t units = T * B * model.units();
    Advance call{named.as<int64_t>(), B, T, input.as<void>(), output.as<void>(), nullptr, nullptr};
    if (record.is_none()) return advance(stream, call, threads);
    const auto [gates, cell] = nb::cast<std::tuple<nb::object, nb::object>>(record);
    const Needed gates_buffer("gates", gates, "float32", 4 * units, true);
    const Needed cell_buffer("cell", cell, "float32", units, true);
    call.gates = gates_buffer.as<float>();
    call.cell = cell_buffer.as<float>();
    advance(stream, call, threads);
}

int64_t existing(const Stream& stream, int64_t session) {
    if (session < 0 || session >= stream.sessions())
        refuse("session", "a number from 0 to " + std::to_string(stream.sessions() - 1), std::to_string(session));
    return session;
}

template <class T>
Result<T> copied(const T* data, int64_t count) {
    Result<T> fresh({count});
    std::copy_n(data, count, fresh.data);
    return fresh;
}

nb::tuple state(Stream& stream, int64_t session) {
    const Turn turn(stream);
    existing(stream, session);
    const Model& model = stream.model();
    Result<float> recent({model.columns.recent() * model.columns.targets});
    stream.get_recent(session, recent.data);
    return nb::make_tuple(copied(stream.hidden(session), model.hidden_width()).array,
                          copied(stream.cell(session), model.cell_width()).array,
                          copied(stream.last(session), model.last_width()).array, stream.steps(session),
                          recent.array);
}

void set_state(Stream& stream, int64_t session, nb::handle hidden, nb::handle cell, nb::handle last, int64_t steps,
               nb::handle recent) {
    const Turn turn(stream);
    existing(stream, session);
    const Model& model = stream.model();
    const Needed h("hidden", hidden, "float32", model.hidden_width(), false);
    const Needed c("cell", cell, "float32", model.cell_width(), false);
    const Needed l("last", last, "float64", model.last_width(), false);
    const Needed r("recent", recent, "float32", model.columns.recent() * model.columns.targets, false);
    if (model.columns.window && !model.columns.are_windows(l.as<double>()))
        refuse("last", "the last observed values, and what a session has seen of its window", "other numbers");
    if (!model.takes_cell(c.as<float>())) refuse("cell", "n of an sLSTM at least 0", "a number below 0");
    std::copy_n(h.as<float>(), model.hidden_width(), stream.hidden(session));
    std::copy_n(c.as<float>(), model.cell_width(), stream.cell(session));
    std::copy_n(l.as<double>(), model.last_width(), stream.last(session));
    stream.steps(session) = steps;
    stream.set_recent(session, r.as<float>());
}

}  // namespace

void step_once(Stream& stream, const void* x, void* out) {
    const Turn turn(stream);
    advance_first(stream, x, out);
}

void bind_streams(nb::module_& m) {
    nb::class_<Stream>(m, "Stream")
        .def("__init__",
             [](Stream* at, const std::shared_ptr<Model>& model, int64_t sessions) {
                 if (sessions < 1) refuse("sessions", "at least 1", std::to_string(sessions));
                 new (at) Stream(model, sessions);
             })
        .def("step", &step, nb::arg("x").none(), nb::arg("out").none())
        .def("run", &run, nb::arg("x"), nb::arg("out"), nb::arg("sessions"), nb::arg("T"), nb::arg("B"),
             nb::arg("record").none(), nb::arg("threads"))
        .def("state", &state)
        .def("set_state", &set_state)
        .def("require", [](const Stream& stream, int64_t session) { existing(stream, session); })
        .def("reset",
             [](Stream& stream, int64_t session) {
                 const Turn turn(stream);
                 stream.reset(existing(stream, session));
             })
        .def(
            "copy",
            [](Stream& stream) {
                const Turn turn(stream);
                return new Stream(stream);
            },
            nb::rv_policy::take_ownership);
}

}  // namespace gatewright
