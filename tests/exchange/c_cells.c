/* Models of several cells: what they give of the same symbols, in float and in bfloat16, and what is refused. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gatewright.h"

extern const gatewright_parts parts_0, parts_1, parts_2, parts_3, parts_4;

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
    for (int kept = GATEWRIGHT_INT8; kept <= GATEWRIGHT_INT8_FLOAT32; ++kept) {
        given.kept = (gatewright_kept)kept;
        refuse(given, given.cell, GATEWRIGHT_SIZE, "kept");
    }
}

int main(void) {
    const gatewright_parts* const all[] = {&parts_0, &parts_1, &parts_2, &parts_3, &parts_4};
    for (size_t k = 0; k < sizeof all / sizeof *all; ++k) {
        gatewright_parts parts = *all[k];
        run(&parts);
        parts.kept = GATEWRIGHT_BFLOAT16;
        run(&parts);
    }
    check_refusals(parts_0);
    gatewright_parts older = parts_4; /* whose cell is then not read */
    older.version = 4;
    older.kept = GATEWRIGHT_INT8;
    gatewright_model* model;
    expect(gatewright_model_create(&older, &model), GATEWRIGHT_OK, "version 4");
    gatewright_model_destroy(model);
    return 0;
}
