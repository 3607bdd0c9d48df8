/* What native/c/gatewright.h promises, beside the values: what is refused, that it changes nothing, what
 * allocates. Linked with the model.c of a forecaster of two targets and three past inputs that reads no calendar.
 */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "gatewright.h"
#include "model.h"

static int failures = 0;

#define CHECK(condition)                                                         \
    do {                                                                         \
        if (!(condition)) {                                                      \
            printf("%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
            ++failures;                                                          \
        }                                                                        \
    } while (0)

#define GIVES(status, call) CHECK((call) == GATEWRIGHT_##status)

#ifdef COUNT_ALLOCATIONS
/* glibc lets a program put its own malloc before the library's; C++'s new comes here too. */
static int allocations = 0, none_left_after = -1;
void* __libc_malloc(size_t);
void* malloc(size_t bytes) {
    ++allocations;
    if (none_left_after == 0) return NULL;
    if (none_left_after > 0) --none_left_after;
    return __libc_malloc(bytes);
}
#else
static const int allocations = 0;
#endif

/* Enough of them that a second thread is worth waking. */
enum { SESSIONS = 3, STEPS = 100 };

static gatewright_stream* stream_of(int64_t sessions) {
    gatewright_model* model = NULL;
    gatewright_stream* stream = NULL;
    GIVES(OK, gatewright_model_create(&model_parts, &model));
    GIVES(OK, gatewright_stream_create(model, sessions, &stream));
    gatewright_model_destroy(model);
    return stream;
}

static void fill(double* x, int64_t count) {
    static uint32_t seed = 1;
    int64_t k;
    for (k = 0; k < count; ++k) {
        seed = seed * 1664525u + 1013904223u;
        x[k] = (double)(seed >> 8) / (1 << 20) - 8;
    }
}

#ifndef MODEL_LAST
#define MODEL_LAST MODEL_TARGETS
#endif
#ifndef MODEL_RECENT
#define MODEL_RECENT 0
#endif
#define GET_STATE gatewright_get_seasonal_state
#define SET_STATE gatewright_set_seasonal_state

typedef struct state {
    float hidden[MODEL_HIDDEN], cell[MODEL_CELL], recent[MODEL_RECENT * MODEL_TARGETS + 1];
    double last[MODEL_LAST];
    int64_t steps;
} state;

static state state_of(gatewright_stream* stream, int64_t session) {
    state s;
    memset(&s, 0, sizeof s); /* padding too: states are compared as bytes */
    GIVES(OK, GET_STATE(stream, session, s.hidden, s.cell, s.last, s.recent, &s.steps));
    return s;
}

static int same(const state* one, const state* other) { return memcmp(one, other, sizeof *one) == 0; }

static void test_bad_input_changes_nothing(void) {
    gatewright_stream* stream = stream_of(2);
    double x[2 * MODEL_INPUT], y[2 * MODEL_OUTPUT];
    float few[MODEL_INPUT + MODEL_OUTPUT] = {0};
    const int64_t both[2] = {0, 1}, twice[2] = {1, 1}, none[2] = {0, 2}, symbols[2] = {0, 1};
    state before, after;
    int k;

    fill(x, 2 * MODEL_INPUT);
    GIVES(OK, gatewright_step_series(stream, 0, x, y));
    before = state_of(stream, 0);
    for (k = 0; k < MODEL_OUTPUT; ++k) y[k] = 77;
    for (k = 0; k < MODEL_INPUT; ++k) {
        const double good = x[k];
        x[k] = INFINITY;
        GIVES(NOT_FINITE, gatewright_step_series(stream, 0, x, y));
        x[k] = NAN; /* which a target may be */
        if (k >= MODEL_TARGETS) GIVES(NOT_FINITE, gatewright_step_series(stream, 0, x, y));
        if (k >= MODEL_TARGETS) GIVES(NOT_FINITE, gatewright_run_series(stream, both, 1, 2, x, y, 1));
        x[k] = 1e300;
        GIVES(NOT_FINITE, gatewright_step_series(stream, 0, x, y));
        x[k] = good;
    }
    GIVES(NO_SESSION, gatewright_step_series(stream, 2, x, y));
    GIVES(NO_SESSION, gatewright_step_series(stream, -1, x, y));
    GIVES(NO_SESSION, gatewright_run_series(stream, none, 2, 1, x, y, 1));
    GIVES(SESSION_TWICE, gatewright_run_series(stream, twice, 2, 1, x, y, 1));
    GIVES(SIZE, gatewright_run_series(stream, both, 0, 1, x, y, 1));
    GIVES(SIZE, gatewright_run_series(stream, both, 2, 0, x, y, 1));
    GIVES(SIZE, gatewright_run_series(stream, both, 2, -1, x, y, 1));
    GIVES(SIZE, gatewright_run_series(stream, both, 2, 1, x, y, 0));
    GIVES(SIZE, gatewright_run_series(stream, both, INT64_MAX, INT64_MAX, x, y, 1));
    GIVES(SIZE, gatewright_run_series(stream, both, INT32_MAX, INT32_MAX, x, y, 1));
    GIVES(NULL_POINTER, gatewright_run_series(stream, NULL, 2, 1, x, y, 1));
    GIVES(NULL_POINTER, gatewright_run_series(stream, both, 2, 1, NULL, y, 1));
    GIVES(NULL_POINTER, gatewright_step_series(NULL, 0, x, y));
    GIVES(NULL_POINTER, gatewright_step_series(stream, 0, x, NULL));
    GIVES(ANOTHER_INPUT, gatewright_step_features(stream, 0, few, few + MODEL_INPUT));
    GIVES(ANOTHER_INPUT, gatewright_step_symbol(stream, 0, 0, few));
    GIVES(ANOTHER_INPUT, gatewright_run_symbols(stream, both, 2, 1, symbols, few, 1));
    GIVES(SIZE, gatewright_reserve(stream, 0, 1, 1));
    GIVES(SIZE, gatewright_reserve(stream, 1, 1, 0));
    GIVES(NO_SESSION, gatewright_reset(stream, 2));
    for (k = 0; k < MODEL_OUTPUT; ++k) CHECK(y[k] == 77);
    after = state_of(stream, 0);
    CHECK(same(&before, &after));
    gatewright_stream_destroy(stream);
}

static void test_bad_states_change_nothing(void) {
    gatewright_stream* stream = stream_of(1);
    double x[MODEL_INPUT], y[MODEL_OUTPUT];
    state before, bad, after;

    fill(x, MODEL_INPUT);
    GIVES(OK, gatewright_step_series(stream, 0, x, y));
    bad = before = state_of(stream, 0);
    bad.hidden[1] = NAN;
    GIVES(STATE, SET_STATE(stream, 0, bad.hidden, before.cell, before.last, before.recent, 3));
    bad.cell[0] = INFINITY;
    GIVES(STATE, SET_STATE(stream, 0, before.hidden, bad.cell, before.last, before.recent, 3));
    bad.last[0] = INFINITY;
    GIVES(STATE, SET_STATE(stream, 0, before.hidden, before.cell, bad.last, before.recent, 3));
    GIVES(STATE, SET_STATE(stream, 0, before.hidden, before.cell, before.last, before.recent, -1));
    if (MODEL_LAST > MODEL_TARGETS) { /* a sum of sizes below 0 */
        bad.last[0] = before.last[0];
        bad.last[MODEL_TARGETS + 1] = -1;
        GIVES(STATE, SET_STATE(stream, 0, before.hidden, before.cell, bad.last, before.recent, 3));
    }
    if (MODEL_RECENT > 0) {
        bad.recent[0] = -INFINITY;
        GIVES(STATE, SET_STATE(stream, 0, before.hidden, before.cell, before.last, bad.recent, 3));
        GIVES(NULL_POINTER, SET_STATE(stream, 0, before.hidden, before.cell, before.last, NULL, 3));
        GIVES(NULL_POINTER, gatewright_set_state(stream, 0, before.hidden, before.cell, before.last, 3));
        GIVES(NULL_POINTER, gatewright_get_state(stream, 0, bad.hidden, bad.cell, bad.last, &bad.steps));
    }
    GIVES(NO_SESSION, SET_STATE(stream, 1, before.hidden, before.cell, before.last, before.recent, 3));
    GIVES(NULL_POINTER, SET_STATE(stream, 0, before.hidden, before.cell, NULL, before.recent, 3));
    GIVES(OK, gatewright_steps_read(stream, 0, &bad.steps));
    CHECK(bad.steps == before.steps);
    GIVES(NULL_POINTER, gatewright_steps_read(stream, 0, NULL));
    GIVES(NULL_POINTER, gatewright_steps_read(NULL, 0, &bad.steps));
    GIVES(NO_SESSION, gatewright_steps_read(stream, 1, &bad.steps));
    GIVES(NULL_POINTER, GET_STATE(stream, 0, NULL, bad.cell, bad.last, bad.recent, &bad.steps));
    GIVES(NO_SESSION, GET_STATE(stream, 1, bad.hidden, bad.cell, bad.last, bad.recent, &bad.steps));
    after = state_of(stream, 0);
    CHECK(same(&before, &after));
    gatewright_stream_destroy(stream);
}

/* Steps, runs of several sessions on several threads, copies and states given back: all to the same bits. */
static void test_all_ways_give_the_same_bits(void) {
    static double x[STEPS][SESSIONS][MODEL_INPUT], y[STEPS][SESSIONS][MODEL_OUTPUT], one[MODEL_OUTPUT];
    const int64_t sessions[SESSIONS] = {2, 0, 1};
    gatewright_stream *together = stream_of(SESSIONS), *alone = stream_of(1), *copy = NULL;
    state kept, end;
    int t, b;

    fill(&x[0][0][0], STEPS * SESSIONS * MODEL_INPUT);
    for (t = 0; t < STEPS; ++t) x[t][t % SESSIONS][t % MODEL_TARGETS] = NAN;
    GIVES(OK, gatewright_reserve(together, SESSIONS, STEPS, 2));
    GIVES(OK, gatewright_run_series(together, sessions, SESSIONS, STEPS, &x[0][0][0], &y[0][0][0], 2));
    for (b = 0; b < SESSIONS; ++b) {
        GIVES(OK, gatewright_reset(alone, 0));
        for (t = 0; t < STEPS; ++t) {
            if (t == STEPS / 2) {
                kept = state_of(alone, 0);
                GIVES(OK, gatewright_stream_copy(alone, &copy));
                GIVES(OK, gatewright_step_series(alone, 0, x[0][0], one)); /* the copy goes on by itself */
                gatewright_stream_destroy(alone);
                alone = b ? copy : stream_of(1);
                if (b == 0)
                    GIVES(OK, SET_STATE(alone, 0, kept.hidden, kept.cell, kept.last, kept.recent, kept.steps));
                if (b == 0) gatewright_stream_destroy(copy);
            }
            GIVES(OK, gatewright_step_series(alone, 0, x[t][b], one));
            CHECK(memcmp(one, y[t][b], sizeof one) == 0);
        }
        kept = state_of(alone, 0);
        end = state_of(together, sessions[b]);
        CHECK(same(&kept, &end));
        CHECK(end.steps == STEPS);
    }
    gatewright_stream_destroy(alone);
    gatewright_stream_destroy(together);
}

static void test_a_step_allocates_nothing(void) {
    static double x[STEPS][MODEL_INPUT], y[STEPS][MODEL_OUTPUT];
    const int64_t session = 0;
    gatewright_stream* stream = stream_of(2);
    int before;

    fill(&x[0][0], STEPS * MODEL_INPUT);
    before = allocations;
    GIVES(OK, gatewright_step_series(stream, 0, x[0], y[0]));
    CHECK(allocations == before);
    GIVES(OK, gatewright_reserve(stream, 2, STEPS, 1));
#ifdef COUNT_ALLOCATIONS
    CHECK(allocations > before); /* they are seen */
#endif
    before = allocations;
    GIVES(OK, gatewright_run_series(stream, &session, 1, STEPS, x[0], y[0], 1));
    x[0][MODEL_INPUT - 1] = NAN;
    GIVES(NOT_FINITE, gatewright_step_series(stream, 0, x[0], y[0]));
    GIVES(NO_SESSION, gatewright_step_series(stream, 2, x[0], y[0]));
    CHECK(allocations == before);
    gatewright_stream_destroy(stream);
}

static void test_bare_layers_and_what_they_may_be(void) {
    enum { D = 2, H = 3, P = 1 };
    static float zeros[4 * H * H], bad[4 * H * H], x[2] = {1, -1}, y[H], c[H] = {1, 2, 3}, h[H], symbol_y[2 * H];
    gatewright_layer layers[2] = {{D, H, H, zeros, zeros, NULL, NULL, NULL},
                                  {H, H, H, zeros, zeros, zeros, zeros, NULL}};
    static float ones[4 * H] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    double pooled[H + 2];
    gatewright_category category = {1, 3, 1, zeros}, whole = category;
    gatewright_parts parts = {.version = GATEWRIGHT_VERSION, .layer_count = 1}, other;
    gatewright_model* model = NULL;
    gatewright_stream* stream = NULL;
    gatewright_shape shape;
    int64_t steps = 0;

    bad[4 * H * D - 1] = NAN;
    parts.layers = layers;
    GIVES(OK, gatewright_model_create(&parts, &model));
    GIVES(OK, gatewright_model_shape(model, &shape));
    CHECK(shape.reads == GATEWRIGHT_FEATURES && shape.input == D && shape.output == H);
    CHECK(shape.hidden == H && shape.cell == H && shape.targets == 0 && shape.symbols == 0);
    GIVES(SIZE, gatewright_stream_create(model, 0, &stream));
    GIVES(NULL_POINTER, gatewright_stream_create(NULL, 1, &stream));
    GIVES(NULL_POINTER, gatewright_stream_create(model, 1, NULL));
    GIVES(OK, gatewright_stream_create(model, 2, &stream));
    GIVES(OK, gatewright_set_state(stream, 1, h, c, NULL, 5));
    GIVES(OK, gatewright_step_features(stream, 1, x, y)); /* all gates 1/2, the candidate 0: c is halved */
    GIVES(OK, gatewright_get_state(stream, 1, h, c, NULL, &steps));
    CHECK(c[0] == 0.5f && c[1] == 1.0f && c[2] == 1.5f && steps == 6 && memcmp(h, y, sizeof h) == 0);
    CHECK(fabs(h[2] - 0.5 * tanh(1.5)) < 1e-6);
    x[1] = NAN;
    GIVES(NOT_FINITE, gatewright_step_features(stream, 1, x, y));
    gatewright_stream_destroy(stream);
    gatewright_model_destroy(model);
    model = NULL;

#define REFUSED(status, change)                                 \
    do {                                                        \
        gatewright_layer kept[2];                               \
        memcpy(kept, layers, sizeof kept);                      \
        other = parts;                                          \
        change;                                                 \
        GIVES(status, gatewright_model_create(&other, &model)); \
        CHECK(model == NULL);                                   \
        memcpy(layers, kept, sizeof kept);                      \
        category = whole;                                       \
    } while (0)
    GIVES(NULL_POINTER, gatewright_model_create(NULL, &model));
    GIVES(NULL_POINTER, gatewright_model_create(&parts, NULL));
    REFUSED(ANOTHER_VERSION, other.version = 0);
    REFUSED(NULL_POINTER, other.layers = NULL);
    REFUSED(SIZE, other.layer_count = 0);
    REFUSED(SIZE, layers[0].D = 0);
    REFUSED(SIZE, layers[0].H = -1);
    REFUSED(SIZE, layers[0].H = layers[0].P = layers[0].D = INT32_MAX);
    REFUSED(SIZE, layers[0].H = INT64_MAX);
    REFUSED(SIZE, layers[0].P = 1);
    REFUSED(SIZE, layers[0].W_hr = zeros); /* a projection to the same width */
    REFUSED(NULL_POINTER, layers[0].W_ih = NULL);
    REFUSED(NULL_POINTER, layers[0].W_hh = NULL);
    REFUSED(NULL_POINTER, layers[0].b_ih = zeros);
    REFUSED(WEIGHT, layers[0].W_ih = bad);
    REFUSED(SIZE, other.layer_count = 2; layers[0].P = P; layers[0].W_hr = zeros); /* then D of the second is P */
    REFUSED(SIZE, other.embedding = zeros);
    REFUSED(SIZE, other.head_W = zeros);
    REFUSED(WEIGHT, other.head_W = bad; other.out = 12);
    REFUSED(SIZE, other.kept = (gatewright_kept)(GATEWRIGHT_INT8_FLOAT32 + 1));
    REFUSED(SIZE, other.columns = model_parts.columns);
    REFUSED(SIZE, other.columns = model_parts.columns; other.embedding = zeros; other.symbols = 2);
    REFUSED(SIZE, other.pooling = (gatewright_pooling)4);
    REFUSED(NULL_POINTER, other.pooling = GATEWRIGHT_MEAN); /* without a head */
    REFUSED(NULL_POINTER, other.pooling = GATEWRIGHT_ATTENTION; other.head_W = zeros; other.out = 1);
    REFUSED(WEIGHT, other.pooling = GATEWRIGHT_ATTENTION; other.head_W = zeros; other.out = 1;
            other.pool_weight = bad + 4 * H * D - 1);
    REFUSED(SIZE, other.pooling = GATEWRIGHT_MAX; other.head_W = zeros; other.out = 1; other.embedding = zeros;
            other.symbols = 2);
    REFUSED(NULL_POINTER, other.category_count = 1);
    REFUSED(SIZE, other.category_count = -1);
    REFUSED(SIZE, other.category_count = 1; category.count = 1; other.categories = &category);
    REFUSED(SIZE, other.category_count = 1; category.input = 2; other.categories = &category);
    REFUSED(SIZE, other.category_count = 1; category.size = 3; other.categories = &category);
    REFUSED(WEIGHT, other.category_count = 1; category.vectors = bad + 4 * H * D - 3;
            other.categories = &category);

    /* Sums that 32 bits do not hold. */
    const int64_t many = 133145;
    float* const wide = calloc((size_t)(4 * H * many), sizeof *wide);
    CHECK(wide != NULL);
    REFUSED(SIZE, other.kept = GATEWRIGHT_INT8; layers[0].D = many; layers[0].W_ih = wide);
    free(wide);

    /* Hidden states in units of 1/127. */
    other = parts;
    other.kept = GATEWRIGHT_INT8;
    GIVES(OK, gatewright_model_create(&other, &model));
    GIVES(OK, gatewright_stream_create(model, 1, &stream));
    h[H - 1] = -1;
    GIVES(OK, gatewright_set_state(stream, 0, h, c, NULL, 5));
    h[H - 1] = -1.001f;
    GIVES(STATE, gatewright_set_state(stream, 0, h, c, NULL, 5));
    gatewright_stream_destroy(stream);
    gatewright_model_destroy(model);
    model = NULL;

    /* A number and a category as wide as its index, with the mean of the steps so far. */
    layers[0].b_ih = layers[0].b_hh = ones;
    other = parts;
    other.head_W = ones;
    other.out = 1;
    other.pooling = GATEWRIGHT_ATTENTION;
    other.pool_weight = ones;
    other.category_count = 1;
    other.categories = &category;
    GIVES(OK, gatewright_model_create(&other, &model));
    GIVES(OK, gatewright_model_shape(model, &shape));
    CHECK(shape.input == D && shape.targets == 0 && shape.pooled == H + 2);
    GIVES(OK, gatewright_stream_create(model, 2, &stream));
    x[0] = 0;
    x[1] = 2;
    GIVES(OK, gatewright_step_features(stream, 0, x, y));
    for (x[1] = -1; x[1] < 4; x[1] += 1.5f)
        if (x[1] != 2) GIVES(NO_CATEGORY, gatewright_step_features(stream, 0, x, y));
    x[1] = 1;
    GIVES(OK, gatewright_step_features(stream, 0, x, y));
    GIVES(NULL_POINTER, gatewright_get_state(stream, 0, h, c, NULL, &steps));
    GIVES(OK, gatewright_get_state(stream, 0, h, c, pooled, &steps));
    CHECK(steps == 2 && fabs(3 * pooled[0] / pooled[H] - y[0]) < 1e-6 && pooled[H + 1] == floor(pooled[H + 1]));
    GIVES(OK, gatewright_set_state(stream, 1, h, c, pooled, steps));
    GIVES(STATE, gatewright_set_state(stream, 1, h, c, pooled, 0));
    pooled[H + 1] += 0.5;
    GIVES(STATE, gatewright_set_state(stream, 1, h, c, pooled, steps));
    pooled[H + 1] -= 0.5;
    pooled[H] = 0;
    GIVES(STATE, gatewright_set_state(stream, 1, h, c, pooled, steps));
    pooled[H] = NAN;
    GIVES(STATE, gatewright_set_state(stream, 1, h, c, pooled, steps));
    GIVES(OK, gatewright_step_features(stream, 0, x, h));
    GIVES(OK, gatewright_step_features(stream, 1, x, y));
    CHECK(h[0] == y[0]);
    gatewright_stream_destroy(stream);
    gatewright_model_destroy(model);
    model = NULL;
    layers[0].b_ih = layers[0].b_hh = NULL;

    other = parts;
    other.layer_count = 2;
    other.embedding = zeros;
    other.symbols = 2;
    GIVES(OK, gatewright_model_create(&other, &model));
    GIVES(OK, gatewright_model_shape(model, &shape));
    CHECK(shape.reads == GATEWRIGHT_SYMBOLS && shape.input == 1 && shape.symbols == 2 && shape.hidden == 2 * H);
    GIVES(OK, gatewright_stream_create(model, 1, &stream));
    GIVES(OK, gatewright_step_symbol(stream, 0, 1, symbol_y));
    GIVES(NO_SYMBOL, gatewright_step_symbol(stream, 0, 2, symbol_y));
    GIVES(NO_SYMBOL, gatewright_step_symbol(stream, 0, -1, symbol_y));
    gatewright_stream_destroy(stream);
    gatewright_model_destroy(model);
}

static void test_columns_that_do_not_fit_are_refused(void) {
    const double zero[16] = {0};
    gatewright_columns columns = *model_parts.columns;
    gatewright_parts parts = model_parts;
    gatewright_model* model = NULL;

    parts.columns = &columns;
#define COLUMNS_REFUSED(status, change)                         \
    do {                                                        \
        columns = *model_parts.columns;                         \
        change;                                                 \
        GIVES(status, gatewright_model_create(&parts, &model)); \
        CHECK(model == NULL);                                   \
    } while (0)
    COLUMNS_REFUSED(SIZE, columns.targets = 0);
    COLUMNS_REFUSED(SIZE, columns.horizon = 0);
    COLUMNS_REFUSED(SIZE, columns.horizon = columns.quantiles = INT32_MAX);
    COLUMNS_REFUSED(SIZE, columns.past = -1);
    COLUMNS_REFUSED(SIZE, columns.past += 1);
    COLUMNS_REFUSED(SIZE, columns.observed = 0);
    COLUMNS_REFUSED(NULL_POINTER, columns.mean = NULL);
    COLUMNS_REFUSED(NULL_POINTER, columns.change_scale = NULL);
    COLUMNS_REFUSED(WEIGHT, columns.scale = zero);
    if (MODEL_LAST > MODEL_TARGETS) {
        COLUMNS_REFUSED(SIZE, columns.window = -1);
        static const double below[16] = {-1};
        COLUMNS_REFUSED(NULL_POINTER, columns.least_scale = NULL);
        COLUMNS_REFUSED(NULL_POINTER, columns.scale_ratio = NULL);
        COLUMNS_REFUSED(WEIGHT, columns.least_scale = zero);
        COLUMNS_REFUSED(WEIGHT, columns.scale_ratio = below);
        COLUMNS_REFUSED(WEIGHT, columns.scale_factor = zero);
    }
    if (MODEL_RECENT > 0) {
        static float bad[16 * MODEL_OUTPUT] = {NAN};
        static const int64_t falling[2] = {5, 2}, same[2] = {3, 3}, none[2] = {0, 3};
        COLUMNS_REFUSED(SIZE, columns.season_count = -1);
        COLUMNS_REFUSED(SIZE, columns.seasons = falling);
        COLUMNS_REFUSED(SIZE, columns.seasons = same);
        COLUMNS_REFUSED(SIZE, columns.seasons = none);
        COLUMNS_REFUSED(NULL_POINTER, columns.seasons = NULL);
        COLUMNS_REFUSED(NULL_POINTER, columns.season_weight = NULL);
        COLUMNS_REFUSED(WEIGHT, columns.season_weight = bad);
        columns = *model_parts.columns;
        columns.season_count = 0; /* then the others are not read */
        columns.seasons = NULL;
        GIVES(OK, gatewright_model_create(&parts, &model));
        gatewright_model_destroy(model);
        model = NULL;
    } else { /* nor are they in parts of version 1, which does not have them */
        columns = *model_parts.columns;
        columns.season_count = 99;
        CHECK(parts.version == 1);
        GIVES(OK, gatewright_model_create(&parts, &model));
        gatewright_model_destroy(model);
        model = NULL;
    }
    if (parts.version > 2) {
        const double nan[16] = {NAN}, low[16] = {-INFINITY, -INFINITY};
        const gatewright_transform other[16] = {(gatewright_transform)5};
        COLUMNS_REFUSED(NULL_POINTER, columns.transform_number = NULL);
        COLUMNS_REFUSED(WEIGHT, columns.transform_number = zero);
        COLUMNS_REFUSED(WEIGHT, columns.transform_number = nan);
        COLUMNS_REFUSED(SIZE, columns.transform = other);
        COLUMNS_REFUSED(WEIGHT, columns.minimum = nan);
        COLUMNS_REFUSED(SIZE, columns.maximum = low);
    } else { /* nor are these in older ones */
        columns = *model_parts.columns;
        columns.minimum = (const double*)&parts; /* of any memory */
        columns.transform = (const gatewright_transform*)&parts;
        GIVES(OK, gatewright_model_create(&parts, &model));
        gatewright_model_destroy(model);
        model = NULL;
    }
    {
        const double outside[3] = {0.1, 0.5, 1};
        const int64_t version = parts.version;
        parts.version = GATEWRIGHT_VERSION;
        COLUMNS_REFUSED(SIZE, columns.distribution = (gatewright_distribution)6);
        COLUMNS_REFUSED(SIZE, columns.distribution = GATEWRIGHT_NORMAL; columns.levels = outside);
        COLUMNS_REFUSED(NULL_POINTER, columns.distribution = GATEWRIGHT_NORMAL);
        COLUMNS_REFUSED(SIZE, columns.distribution = GATEWRIGHT_NORMAL;
                        columns.levels = model_quantiles); /* out */
        parts.version = version;
    }
    columns = *model_parts.columns;
    parts.head_W = NULL;
    GIVES(SIZE, gatewright_model_create(&parts, &model));
}

#ifdef COUNT_ALLOCATIONS
static void test_too_much_memory_is_an_error(void) {
    gatewright_model* model = NULL;
    gatewright_stream* stream = NULL;
    struct rlimit before, limit;
    CHECK(getrlimit(RLIMIT_AS, &before) == 0);
    limit = before;
    limit.rlim_cur = (rlim_t)1 << 32;
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    GIVES(OK, gatewright_model_create(&model_parts, &model));
    GIVES(MEMORY, gatewright_stream_create(model, INT32_MAX, &stream));
    CHECK(stream == NULL);
    gatewright_model_destroy(model);
    CHECK(setrlimit(RLIMIT_AS, &before) == 0);
}

/* The first allocation of a call fails, then the second, and so on till none is left to fail. */
#define WITHOUT_MEMORY(call, unchanged)                 \
    do {                                                \
        gatewright_status status = GATEWRIGHT_MEMORY;   \
        int n;                                          \
        for (n = 0; status == GATEWRIGHT_MEMORY; ++n) { \
            none_left_after = n;                        \
            status = (call);                            \
            none_left_after = -1;                       \
            if (status != GATEWRIGHT_OK) {              \
                CHECK(status == GATEWRIGHT_MEMORY);     \
                CHECK(unchanged);                       \
            }                                           \
        }                                               \
        CHECK(n > 1);                                   \
    } while (0)

static void test_any_allocation_may_fail(void) {
    static double x[STEPS][MODEL_INPUT], y[STEPS][MODEL_OUTPUT], expected[STEPS][MODEL_OUTPUT];
    const int64_t session = 0;
    gatewright_model* model = NULL;
    gatewright_stream *stream = NULL, *copy = NULL, *other = stream_of(1);
    int64_t steps = -1;
    int t;
    state s;

    fill(&x[0][0], STEPS * MODEL_INPUT);
    for (t = 0; t < STEPS; ++t) GIVES(OK, gatewright_step_series(other, 0, x[t], expected[t]));
    WITHOUT_MEMORY(gatewright_model_create(&model_parts, &model), model == NULL);
    WITHOUT_MEMORY(gatewright_stream_create(model, 1, &stream), stream == NULL);
    WITHOUT_MEMORY(gatewright_stream_copy(stream, &copy), copy == NULL);
    WITHOUT_MEMORY(gatewright_run_series(stream, &session, 1, STEPS, x[0], y[0], 1),
                   (s = state_of(stream, 0), steps = s.steps) == 0);
    CHECK(steps == 0);
    CHECK(memcmp(y, expected, sizeof y) == 0);
    gatewright_stream_destroy(stream);
    gatewright_stream_destroy(copy);
    gatewright_stream_destroy(other);
    gatewright_model_destroy(model);
}
#else
static void test_too_much_memory_is_an_error(void) {}
static void test_any_allocation_may_fail(void) {}
#endif

static gatewright_stream* shared;
static int busy = 0;

static void* steps_of_a_thread(void* unused) {
    static const double x[MODEL_INPUT] = {0};
    double y[MODEL_OUTPUT];
    int k, refused = 0;
    for (k = 0; k < 20000; ++k) {
        const gatewright_status status = gatewright_step_series(shared, 0, x, y);
        if (status == GATEWRIGHT_BUSY)
            ++refused;
        else
            CHECK(status == GATEWRIGHT_OK);
    }
    busy += refused; /* one thread after the other is joined, and only then read */
    (void)unused;
    return NULL;
}

/* A second call beside one is refused and never mixed with it: every step is either taken or refused. */
static void test_a_stream_serves_one_call_at_a_time(void) {
    pthread_t other;
    state end;
    int mine;
    shared = stream_of(1);
    CHECK(pthread_create(&other, NULL, steps_of_a_thread, NULL) == 0);
    for (mine = 0; mine < 100; ++mine) {
        static const double x[MODEL_INPUT] = {0};
        double y[MODEL_OUTPUT];
        while (gatewright_step_series(shared, 0, x, y) == GATEWRIGHT_BUSY) continue;
    }
    CHECK(pthread_join(other, NULL) == 0);
    end = state_of(shared, 0);
    CHECK(end.steps == 20000 - busy + 100);
    gatewright_stream_destroy(shared);
}

int main(void) {
    int k;
    test_bad_input_changes_nothing();
    test_bad_states_change_nothing();
    test_all_ways_give_the_same_bits();
    test_a_step_allocates_nothing();
    test_bare_layers_and_what_they_may_be();
    test_columns_that_do_not_fit_are_refused();
    test_too_much_memory_is_an_error();
    test_any_allocation_may_fail();
    test_a_stream_serves_one_call_at_a_time();
    gatewright_model_destroy(NULL);
    gatewright_stream_destroy(NULL);
    for (k = 0; k <= GATEWRIGHT_FAILED + 1; ++k) CHECK(strlen(gatewright_status_text((gatewright_status)k)) > 5);
    CHECK(strlen(gatewright_target()) > 3);
    /* What the model says of itself, for the test in Python. */
    for (k = 0; k < MODEL_INPUT; ++k) printf("%s\n", model_columns[k]);
    for (k = 0; k < MODEL_QUANTILES; ++k) printf("%a\n", model_quantiles[k]);
    printf("%d\n%s\n", MODEL_CONTEXT, MODEL_FINGERPRINT);
    return failures != 0;
}
