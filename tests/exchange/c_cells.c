/* Models of several cells: what they give of the same symbols, in float and in bfloat16, and what is refused. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gatewright.h"

extern const gatewright_parts parts_0, parts_1, parts_2, parts_3, parts_4, parts_5, parts_6, parts_7, parts_8;

enum { T = 20, B = 2, LATER = 5, ROOM = 4096 };

static void expect(gatewright_status got, gatewright_status expected, const char* what) {
    if (got == expected) return;
    fprintf(stderr, "%s: %s, not %s\n", what, gatewright_status_text(got), gatewright_status_text(expected));
    exit(1);
}

static void print(const float* y, int64_t count) {
    for (int64_t k = 0; k < count; ++k) printf("%a ", (double)y[k]);
    printf("\n");
}

/* Two sessions at once; then the second one on, by steps, from its state in another stream. */
static void run(const gatewright_parts* parts) {
    static float y[ROOM], hidden[ROOM], cell[ROOM];
    const int64_t sessions[B] = {0, 1};
    int64_t symbols[T * B], steps;
    gatewright_model* model;
    gatewright_stream *stream, *other;
    gatewright_shape shape;
    expect(gatewright_model_create(parts, &model), GATEWRIGHT_OK, "model");
    expect(gatewright_model_shape(model, &shape), GATEWRIGHT_OK, "shape");
    expect(gatewright_stream_create(model, B, &stream), GATEWRIGHT_OK, "stream");
    expect(gatewright_stream_create(model, 1, &other), GATEWRIGHT_OK, "stream");
    if (T * B * shape.output > ROOM || shape.cell > ROOM) exit(2);
    for (int64_t k = 0; k < T * B; ++k) symbols[k] = k * k % shape.symbols;
    expect(gatewright_run_symbols(stream, sessions, B, T, symbols, y, 1), GATEWRIGHT_OK, "run");
    print(y, T * B * shape.output);
    expect(gatewright_get_state(stream, 1, hidden, cell, NULL, &steps), GATEWRIGHT_OK, "get");
    expect(gatewright_set_state(other, 0, hidden, cell, NULL, steps), GATEWRIGHT_OK, "set");
    for (int64_t k = 0; k < LATER; ++k)
        expect(gatewright_step_symbol(other, 0, k % shape.symbols, y + k * shape.output), GATEWRIGHT_OK, "step");
    print(y, LATER * shape.output);
    gatewright_stream_destroy(stream);
    gatewright_stream_destroy(other);
    gatewright_model_destroy(model);
}

static void refuse(gatewright_parts parts, const gatewright_cell* cell, gatewright_status expected,
                   const char* what) {
    gatewright_model* model = NULL;
    parts.cell = cell;
    expect(gatewright_model_create(&parts, &model), expected, what);
    if (model) exit(3);
}

#define REFUSED(status, change)                             \
    do {                                                    \
        gatewright_cell cell = *given.cell;                 \
        gatewright_cell_weights weights = cell.weights[0];  \
        cell.weights = &weights;                            \
        change;                                             \
        refuse(given, &cell, GATEWRIGHT_##status, #change); \
    } while (0)

/* Of a projected coupled cell of one layer with peepholes, and none of layer norm. */
static void check_refusals(gatewright_parts given) {
    static const float bad[3 * 18] = {NAN};
    REFUSED(SIZE, cell.no_input_gate = 1);
    REFUSED(SIZE, cell.no_forget_gate = 1);
    REFUSED(SIZE, cell.gate = GATEWRIGHT_IDENTITY);
    REFUSED(SIZE, cell.candidate = (gatewright_activation)3);
    REFUSED(SIZE, cell.output = (gatewright_activation)-1);
    REFUSED(SIZE, cell.cell_clip = -1);
    REFUSED(SIZE, cell.cell_clip = INFINITY);
    REFUSED(SIZE, cell.zoneout_cell = 1);
    REFUSED(SIZE, cell.zoneout_cell = NAN);
    REFUSED(SIZE, cell.zoneout_hidden = 0.1);
    REFUSED(NULL_POINTER, weights.w_ln = weights.w_ch);
    REFUSED(NULL_POINTER, weights.b_ln_cell = weights.w_ch);
    REFUSED(WEIGHT, weights.w_ch = bad);
    given.version = 6; /* before which there was no kind */
    REFUSED(SIZE, cell.kind = (gatewright_cell_kind)2);
    REFUSED(SIZE, cell.heads = 1);
    REFUSED(SIZE, cell.exponential_forget_gate = 1);
    REFUSED(SIZE, cell.kind = GATEWRIGHT_SLSTM; cell.heads = 1);
    for (int kept = GATEWRIGHT_INT8; kept <= GATEWRIGHT_INT8_FLOAT32; ++kept) {
        given.kept = (gatewright_kept)kept;
        refuse(given, given.cell, GATEWRIGHT_SIZE, "kept");
    }
}

/* Of an sLSTM of layers of 18 units. */
static void check_slstm(gatewright_parts given) {
    static const gatewright_cell_weights none[2];
    static float hidden[ROOM], state[ROOM], before[ROOM];
    int64_t steps;
    gatewright_model* model;
    gatewright_stream* stream;
    gatewright_shape shape;
    const gatewright_cell own = *given.cell;
    gatewright_cell cell;
#define OTHER(change)                                   \
    do {                                                \
        cell = own;                                     \
        change;                                         \
        refuse(given, &cell, GATEWRIGHT_SIZE, #change); \
    } while (0)
    OTHER(cell.heads = 0);
    OTHER(cell.heads = 4);
    OTHER(cell.heads = INT64_MAX);
    OTHER(cell.coupled = 1);
    OTHER(cell.no_input_gate = 1);
    OTHER(cell.gate = GATEWRIGHT_HARD);
    OTHER(cell.output = GATEWRIGHT_IDENTITY);
    OTHER(cell.cell_clip = 1);
    OTHER(cell.zoneout_hidden = 0.5);
    OTHER(cell.weights = none);
    for (int kept = GATEWRIGHT_INT8; kept <= GATEWRIGHT_INT8_FLOAT32; ++kept) {
        gatewright_parts narrow = given;
        narrow.kept = (gatewright_kept)kept;
        refuse(narrow, given.cell, GATEWRIGHT_SIZE, "kept");
    }
    expect(gatewright_model_create(&given, &model), GATEWRIGHT_OK, "model");
    expect(gatewright_model_shape(model, &shape), GATEWRIGHT_OK, "shape");
    if (shape.cell != 3 * shape.hidden) exit(4);
    expect(gatewright_stream_create(model, 1, &stream), GATEWRIGHT_OK, "stream");
    expect(gatewright_step_symbol(stream, 0, 1, hidden), GATEWRIGHT_OK, "step");
    expect(gatewright_get_state(stream, 0, hidden, before, NULL, &steps), GATEWRIGHT_OK, "get");
    memcpy(state, before, sizeof state);
    state[18] = -1e-30f; /* n of the first unit */
    expect(gatewright_set_state(stream, 0, hidden, state, NULL, steps), GATEWRIGHT_STATE, "n below 0");
    expect(gatewright_get_state(stream, 0, hidden, state, NULL, &steps), GATEWRIGHT_OK, "get");
    if (memcmp(state, before, sizeof state) != 0) exit(5);
    state[0] = state[36] = -1; /* c and m */
    expect(gatewright_set_state(stream, 0, hidden, state, NULL, steps), GATEWRIGHT_OK, "set");
    gatewright_stream_destroy(stream);
    gatewright_model_destroy(model);
}

int main(void) {
    const gatewright_parts* const all[] = {&parts_0, &parts_1, &parts_2, &parts_3, &parts_4,
                                           &parts_5, &parts_6, &parts_7, &parts_8};
    for (size_t k = 0; k < sizeof all / sizeof *all; ++k) {
        gatewright_parts parts = *all[k];
        run(&parts);
        parts.kept = GATEWRIGHT_BFLOAT16;
        run(&parts);
    }
    check_refusals(parts_0);
    check_slstm(parts_5);
    check_slstm(parts_6);
    gatewright_parts unequal = parts_7;
    unequal.version = 6, unequal.residual = 1; /* whose layers are not of one width */
    refuse(unequal, unequal.cell, GATEWRIGHT_SIZE, "residual connections between widths");
    gatewright_parts older = parts_4; /* whose cell is then not read */
    older.version = 4;
    older.kept = GATEWRIGHT_INT8;
    gatewright_model* model;
    expect(gatewright_model_create(&older, &model), GATEWRIGHT_OK, "version 4");
    gatewright_model_destroy(model);
    return 0;
}
