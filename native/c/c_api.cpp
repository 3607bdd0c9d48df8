// C's way into models and streams (gatewright.h): what comes in is checked, and no exception goes out.
#include <algorithm>
#include <cmath>
#include <memory>
#include <new>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include "c/gatewright.h"
#include "c/parts.h"
#include "kernels/dispatch.h"
#include "stream/stream.h"

struct gatewright_model {
    std::shared_ptr<const gatewright::Model> model;
};

struct gatewright_stream {
    gatewright::Stream stream;
};

namespace gatewright {

namespace {

// Calls body, which gives a status or throws.
template <class Body>
gatewright_status guarded(Body&& body) noexcept {
    try {
        body();
        return GATEWRIGHT_OK;
    } catch (const Refused& refused) {
        return refused.status;
    } catch (const std::bad_alloc&) {
        return GATEWRIGHT_MEMORY;
    } catch (const std::length_error&) {  // of a vector longer than any memory
        return GATEWRIGHT_MEMORY;
    } catch (...) {
        return GATEWRIGHT_FAILED;
    }
}

template <class... Pointers>
bool any_null(const Pointers*... pointers) {
    return ((pointers == nullptr) || ...);
}

// Marks a stream as in use, for as long as this lives; false where it is in use already.
class Turn {
  public:
    explicit Turn(Stream& stream)
        : stream_(stream), mine_(!stream.busy.exchange(true, std::memory_order_acquire)) {}
    ~Turn() {
        if (mine_) stream_.busy.store(false, std::memory_order_release);
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    explicit operator bool() const { return mine_; }

  private:
    Stream& stream_;
    const bool mine_;
};

bool has_session(const Stream& stream, int64_t session) { return session >= 0 && session < stream.sessions(); }

gatewright_status status_of(const Fault& fault) {
    switch (fault.kind) {
        case Fault::Kind::none:
            return GATEWRIGHT_OK;
        case Fault::Kind::session:
            return GATEWRIGHT_NO_SESSION;
        case Fault::Kind::repeated:
            return GATEWRIGHT_SESSION_TWICE;
        case Fault::Kind::value:
            return GATEWRIGHT_NOT_FINITE;
        case Fault::Kind::symbol:
            return GATEWRIGHT_NO_SYMBOL;
        case Fault::Kind::category:
            return GATEWRIGHT_NO_CATEGORY;
    }
    return GATEWRIGHT_FAILED;
}

template <class T>
constexpr Reads kReads = std::is_same_v<T, float>     ? Reads::features
                         : std::is_same_v<T, int64_t> ? Reads::symbols
                                                      : Reads::series;

template <class X, class Y>
gatewright_status run(gatewright_stream* given, const int64_t* sessions, int64_t B, int64_t T, const X* x, Y* y,
                      int threads) {
    if (any_null(given, sessions, x, y)) return GATEWRIGHT_NULL_POINTER;
    if (!is_size(B) || !is_size(T) || !is_size(threads)) return GATEWRIGHT_SIZE;
    Stream& stream = given->stream;
    const Model& model = stream.model();
    if (model.reads != kReads<X>) return GATEWRIGHT_ANOTHER_INPUT;
    if (product(T, B, std::max(model.input_width(), model.output_width())) < 0) return GATEWRIGHT_SIZE;
    const Turn turn(stream);
    if (!turn) return GATEWRIGHT_BUSY;
    const Advance call{sessions, B, T, x, y, nullptr, nullptr};
    const gatewright_status status = status_of(stream.check(call));
    if (status != GATEWRIGHT_OK) return status;
    return guarded([&] { stream.advance(call, threads); });
}

}  // namespace

}  // namespace gatewright

using namespace gatewright;

extern "C" {

const char* gatewright_status_text(gatewright_status status) {
    switch (status) {
        case GATEWRIGHT_OK:
            return "no error";
        case GATEWRIGHT_NULL_POINTER:
            return "a pointer is null that may not be";
        case GATEWRIGHT_SIZE:
            return "a number is out of its range, or does not fit the others";
        case GATEWRIGHT_WEIGHT:
            return "a weight or mean is not finite, or a scale not above 0";
        case GATEWRIGHT_ANOTHER_VERSION:
            return "the parts were compiled with another gatewright.h";
        case GATEWRIGHT_ANOTHER_INPUT:
            return "the model reads another kind of input";
        case GATEWRIGHT_NO_SESSION:
            return "there is no session of that number";
        case GATEWRIGHT_SESSION_TWICE:
            return "a session is named twice in one call";
        case GATEWRIGHT_NOT_FINITE:
            return "input is NaN, infinite, beyond 1e20 standard deviations, or not what its transform allows";
        case GATEWRIGHT_NO_SYMBOL:
            return "there is no symbol of that number";
        case GATEWRIGHT_STATE:
            return "a state is not finite or, in int8, outside -1 to 1, its steps are below 0, or its parts do "
                   "not fit together";
        case GATEWRIGHT_BUSY:
            return "another thread is in a call with this stream";
        case GATEWRIGHT_MEMORY:
            return "there is not enough memory";
        case GATEWRIGHT_FAILED:
            return "the C++ library failed";
        case GATEWRIGHT_NO_CATEGORY:
            return "a number of a category in a row is no index of a value";
    }
    return "no status of gatewright.h";
}

const char* gatewright_target(void) { return target().name; }

gatewright_status gatewright_model_create(const gatewright_parts* parts, gatewright_model** model) {
    if (any_null(parts, model)) return GATEWRIGHT_NULL_POINTER;
    return guarded([&] { *model = new gatewright_model{std::make_shared<const Model>(parts_of(*parts))}; });
}

void gatewright_model_destroy(gatewright_model* model) { delete model; }

gatewright_status gatewright_model_shape(const gatewright_model* model, gatewright_shape* shape) {
    if (any_null(model, shape)) return GATEWRIGHT_NULL_POINTER;
    const Model& m = *model->model;
    const gatewright_reads reads = m.reads == Reads::series    ? GATEWRIGHT_SERIES
                                   : m.reads == Reads::symbols ? GATEWRIGHT_SYMBOLS
                                                               : GATEWRIGHT_FEATURES;
    *shape = {reads,
              m.input_width(),
              m.output_width(),
              m.hidden_width(),
              m.cell_width(),
              m.columns.targets,
              m.symbols,
              m.columns.recent(),
              m.last_width() - m.columns.last_width(),
              m.last_width()};
    return GATEWRIGHT_OK;
}

gatewright_status gatewright_stream_create(const gatewright_model* model, int64_t sessions,
                                           gatewright_stream** stream) {
    if (any_null(model, stream)) return GATEWRIGHT_NULL_POINTER;
    if (!is_size(sessions)) return GATEWRIGHT_SIZE;
    const Columns& columns = model->model->columns;
    if (product(sessions, columns.recent(), columns.targets) < 0) return GATEWRIGHT_MEMORY;
    return guarded([&] { *stream = new gatewright_stream{Stream(model->model, sessions)}; });
}

gatewright_status gatewright_stream_copy(gatewright_stream* stream, gatewright_stream** copy) {
    if (any_null(stream, copy)) return GATEWRIGHT_NULL_POINTER;
    const Turn turn(stream->stream);
    if (!turn) return GATEWRIGHT_BUSY;
    return guarded([&] { *copy = new gatewright_stream{Stream(stream->stream)}; });
}

void gatewright_stream_destroy(gatewright_stream* stream) { delete stream; }

gatewright_status gatewright_reserve(gatewright_stream* stream, int64_t B, int64_t T, int threads) {
    if (!stream) return GATEWRIGHT_NULL_POINTER;
    if (!is_size(B) || !is_size(T) || !is_size(threads)) return GATEWRIGHT_SIZE;
    const Turn turn(stream->stream);
    if (!turn) return GATEWRIGHT_BUSY;
    return guarded([&] { stream->stream.reserve(B, T, static_cast<int>(std::min<int64_t>(threads, B))); });
}

gatewright_status gatewright_reset(gatewright_stream* stream, int64_t session) {
    if (!stream) return GATEWRIGHT_NULL_POINTER;
    const Turn turn(stream->stream);
    if (!turn) return GATEWRIGHT_BUSY;
    if (!has_session(stream->stream, session)) return GATEWRIGHT_NO_SESSION;
    stream->stream.reset(session);
    return GATEWRIGHT_OK;
}

gatewright_status gatewright_step_features(gatewright_stream* stream, int64_t session, const float* x, float* y) {
    return run(stream, &session, 1, 1, x, y, 1);
}

gatewright_status gatewright_step_symbol(gatewright_stream* stream, int64_t session, int64_t symbol, float* y) {
    return run(stream, &session, 1, 1, &symbol, y, 1);
}

gatewright_status gatewright_step_series(gatewright_stream* stream, int64_t session, const double* x, double* y) {
    return run(stream, &session, 1, 1, x, y, 1);
}

gatewright_status gatewright_run_features(gatewright_stream* stream, const int64_t* sessions, int64_t B, int64_t T,
                                          const float* x, float* y, int threads) {
    return run(stream, sessions, B, T, x, y, threads);
}

gatewright_status gatewright_run_symbols(gatewright_stream* stream, const int64_t* sessions, int64_t B, int64_t T,
                                         const int64_t* x, float* y, int threads) {
    return run(stream, sessions, B, T, x, y, threads);
}

gatewright_status gatewright_run_series(gatewright_stream* stream, const int64_t* sessions, int64_t B, int64_t T,
                                        const double* x, double* y, int threads) {
    return run(stream, sessions, B, T, x, y, threads);
}

gatewright_status gatewright_steps_read(gatewright_stream* stream, int64_t session, int64_t* steps) {
    if (any_null(stream, steps)) return GATEWRIGHT_NULL_POINTER;
    Stream& s = stream->stream;
    const Turn turn(s);
    if (!turn) return GATEWRIGHT_BUSY;
    if (!has_session(s, session)) return GATEWRIGHT_NO_SESSION;
    *steps = s.steps(session);
    return GATEWRIGHT_OK;
}

gatewright_status gatewright_get_state(gatewright_stream* stream, int64_t session, float* hidden, float* cell,
                                       double* last, int64_t* steps) {
    return gatewright_get_seasonal_state(stream, session, hidden, cell, last, nullptr, steps);
}

gatewright_status gatewright_get_seasonal_state(gatewright_stream* stream, int64_t session, float* hidden,
                                                float* cell, double* last, float* recent, int64_t* steps) {
    if (any_null(stream, hidden, cell, steps)) return GATEWRIGHT_NULL_POINTER;
    Stream& s = stream->stream;
    const Model& model = s.model();
    const int64_t remembered = model.last_width();
    if ((!last && remembered > 0) || (!recent && model.columns.recent() > 0)) return GATEWRIGHT_NULL_POINTER;
    const Turn turn(s);
    if (!turn) return GATEWRIGHT_BUSY;
    if (!has_session(s, session)) return GATEWRIGHT_NO_SESSION;
    std::copy_n(s.hidden(session), model.hidden_width(), hidden);
    std::copy_n(s.cell(session), model.cell_width(), cell);
    std::copy_n(s.last(session), remembered, last);
    s.get_recent(session, recent);
    *steps = s.steps(session);
    return GATEWRIGHT_OK;
}

gatewright_status gatewright_set_state(gatewright_stream* stream, int64_t session, const float* hidden,
                                       const float* cell, const double* last, int64_t steps) {
    return gatewright_set_seasonal_state(stream, session, hidden, cell, last, nullptr, steps);
}

gatewright_status gatewright_set_seasonal_state(gatewright_stream* stream, int64_t session, const float* hidden,
                                                const float* cell, const double* last, const float* recent,
                                                int64_t steps) {
    if (any_null(stream, hidden, cell)) return GATEWRIGHT_NULL_POINTER;
    Stream& s = stream->stream;
    const Model& model = s.model();
    const int64_t remembered = model.last_width(), kept = model.columns.recent() * model.columns.targets;
    if ((!last && remembered > 0) || (!recent && kept > 0)) return GATEWRIGHT_NULL_POINTER;
    const auto infinite = [](auto value) { return std::isinf(value); };
    if (!finite(hidden, model.hidden_width()) || !finite(cell, model.cell_width()) || steps < 0 ||
        std::any_of(last, last + remembered, infinite) || std::any_of(recent, recent + kept, infinite))
        return GATEWRIGHT_STATE;
    if (!model.takes_hidden(hidden) || !model.takes_cell(cell)) return GATEWRIGHT_STATE;
    const auto missing = [](double value) { return std::isnan(value); };
    if (model.pooling != Pooling::none && std::any_of(last, last + remembered, missing) != (steps == 0))
        return GATEWRIGHT_STATE;
    if (model.columns.window && !model.columns.are_windows(last)) return GATEWRIGHT_STATE;
    if (model.pooling == Pooling::attention && steps > 0 && !is_softmax_state(last + remembered - 2))
        return GATEWRIGHT_STATE;
    const Turn turn(s);
    if (!turn) return GATEWRIGHT_BUSY;
    if (!has_session(s, session)) return GATEWRIGHT_NO_SESSION;
    std::copy_n(hidden, model.hidden_width(), s.hidden(session));
    std::copy_n(cell, model.cell_width(), s.cell(session));
    std::copy_n(last, remembered, s.last(session));
    s.steps(session) = steps;
    s.set_recent(session, recent);
    return GATEWRIGHT_OK;
}

}  // extern "C"
