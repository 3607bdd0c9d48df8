/*
 * Gatewright from C: a trained model, step by step, with a state for each session.
 *
 * A contract for C99 and later, and for C++.  It needs libgatewright.a alone:
 *
 *     cmake -S . -B build && cmake --build build --target gatewright
 *     cc main.c model.c -Inative build/libgatewright.a -lstdc++ -lpthread -lm -ldl
 *
 * What holds for every function:
 *
 * - It returns GATEWRIGHT_OK, or says why not; then nothing has changed: no state, and nothing that a pointer
 *   of the call points to.  No C++ exception leaves it.
 * - Arrays are dense, in row-major (C) order.  They belong to the caller, and nothing keeps a pointer to one
 *   when the call is over.  No two pointers of one call may overlap.  None may be null unless it says so here.
 * - T is a number of steps, B of sessions in one call, D of inputs, H of units, P the width of the hidden state.
 *   Gates stand in the order i, f, g, o.
 *
 * Memory and locks: the functions that make, copy, reserve and destroy allocate or free, and may lock.
 * gatewright_step_* never allocates and takes no lock.  Nor does gatewright_run_* on one thread after a
 * gatewright_reserve of at least its B and T; on several, it locks for a moment and allocates a little to take
 * other threads, where there is work enough for them.  Everything else does neither.
 *
 * Threads: a model never changes, and serves any number of threads.  A stream serves one call at a time; a second
 * one beside it is refused (GATEWRIGHT_BUSY).  Streams of one model are independent of each other.
 *
 * Bits: a step gives the same bits as many steps at once, alone or beside other sessions, on any number of
 * threads; and the same as gatewright.Stream in Python on the same target.
 */
#ifndef GATEWRIGHT_H
#define GATEWRIGHT_H

#include <stdint.h>

/* What a field is where an initialiser says nothing of it: in C always 0, in C++ without a warning. */
#ifdef __cplusplus
#define GATEWRIGHT_UNSET(value) = value
extern "C" {
#else
#define GATEWRIGHT_UNSET(value)
#endif

/* Grows when gatewright_parts or a struct in it changes.  Parts of older versions are still taken: those of
 * version 1 have no seasons, those of version 2 no transforms, bounds and categories of a forecaster, those of
 * version 3 no pooling, no categories of features, no scale of a window and no
 * distributions, those of version 4 the plain cell, those of version 5 no sLSTM and no
 * residual connections. */
#define GATEWRIGHT_VERSION 6

typedef enum gatewright_status {
    GATEWRIGHT_OK = 0,
    GATEWRIGHT_NULL_POINTER,    /* a pointer is null that may not be */
    GATEWRIGHT_SIZE,            /* a number is out of its range, or does not fit the others */
    GATEWRIGHT_WEIGHT,          /* a weight or mean is not finite, or a scale not above 0 */
    GATEWRIGHT_ANOTHER_VERSION, /* the parts were compiled with another gatewright.h */
    GATEWRIGHT_ANOTHER_INPUT,   /* the model reads another kind of input */
    GATEWRIGHT_NO_SESSION,      /* there is no session of that number */
    GATEWRIGHT_SESSION_TWICE,   /* a session is named twice in one call */
    GATEWRIGHT_NOT_FINITE, /* input is NaN, infinite or, in a row, beyond 1e20 standard deviations, or a target
                              that its transform does not allow */
    GATEWRIGHT_NO_SYMBOL,  /* there is no symbol of that number */
    GATEWRIGHT_STATE,      /* a state is not finite, its steps are below 0, its parts do not fit together, or with
                              GATEWRIGHT_INT8 and without a projection a hidden state is outside of -1 to 1 */
    GATEWRIGHT_BUSY,       /* another thread is in a call with this stream */
    GATEWRIGHT_MEMORY,     /* there is not enough memory */
    GATEWRIGHT_FAILED,     /* anything else that the C++ library may throw */
    GATEWRIGHT_NO_CATEGORY /* a number of a category in a row is no index of a value */
} gatewright_status;

/* What a status means: a static text of one line, also for a number that is no status. */
const char* gatewright_status_text(gatewright_status status);

/* What a step reads. */
typedef enum gatewright_reads {
    GATEWRIGHT_FEATURES = 0, /* D numbers, float; or the index of a category in place of its vector */
    GATEWRIGHT_SYMBOLS,      /* a symbol, int64_t */
    GATEWRIGHT_SERIES        /* a row of a table in the table's own units, double */
} gatewright_reads;

/* One LSTM layer: i, f, g, o = W_ih x + b_ih + W_hh h + b_hh, as in PyTorch. */
typedef struct gatewright_layer {
    int64_t D, H, P;   /* each at least 1; D is P of the layer below */
    const float* W_ih; /* (4H, D) */
    const float* W_hh; /* (4H, P), of an sLSTM (4H, H / heads) */
    const float* b_ih; /* (4H), or null together with b_hh: zeros */
    const float* b_hh; /* (4H), or null */
    const float* W_hr; /* (P, H), where P is less than H; or null, where P is H */
} gatewright_layer;

/* sigmoid or tanh; its piecewise linear form, clip(x / 6 + 1 / 2, 0, 1) or clip(x, -1, 1); x itself. */
typedef enum gatewright_activation {
    GATEWRIGHT_SMOOTH = 0,
    GATEWRIGHT_HARD,
    GATEWRIGHT_IDENTITY /* not of gates */
} gatewright_activation;

/* Further weights of one layer. */
typedef struct gatewright_cell_weights {
    const float* w_ch; /* (3H): peepholes of i, f and o; or null for none */
    const float* w_ln; /* (4H): gains of the gates, each normalised over its units; or null for no layer norm */
    const float* w_ln_cell; /* (H): gain and bias of the cell state that the output reads, normalised; null */
    const float* b_ln_cell; /* (H)    without w_ln */
} gatewright_cell_weights;

/* The equations of a cell. */
typedef enum gatewright_cell_kind {
    GATEWRIGHT_LSTM = 0,
    GATEWRIGHT_SLSTM /* below; it has biases, and of the members of gatewright_cell those of version 6 alone */
} gatewright_cell_kind;

/* Another cell than the plain one, the same in all layers; what is 0 or null is as there.  Layers have rows for
 * four gates all the same: zeros for a gate that is not there.
 *
 *     z = W_ih x + W_hh h, each gate normalised over its units and times its gain; then + b_ih + b_hh
 *     i = gate(z_i + w_ci c), f = gate(z_f + w_cf c), g = candidate(z_g)        coupled: i = 1 - f
 *     c' = clip(f c + i g, -cell_clip, cell_clip), and then zoneout_cell c + (1 - zoneout_cell) c'
 *     o = gate(z_o + w_co c')
 *     h' = o output(c', or that normalised), and then zoneout_hidden h + (1 - zoneout_hidden) h'
 *
 * An sLSTM, whose W_hh is block diagonal: rows of the gates of a head read the H / heads units of that head.  Its
 * cell state is c, n and m, each (H); m counts for nothing where n is 0.
 *
 *     log i = z_i, log f = log sigmoid(z_f) or z_f, g = tanh(z_g), o = sigmoid(z_o)
 *     m' = max(log f + m, log i)    F = exp(log f + m - m'), I = exp(log i - m')
 *     c' = F c + I g                n' = F n + I                h' = o c' / n'
 */
typedef struct gatewright_cell {
    int32_t coupled GATEWRIGHT_UNSET(0);       /* not 0: i = 1 - f, and no gate of the two is absent */
    int32_t no_input_gate GATEWRIGHT_UNSET(0); /* not 0: the gate is 1 */
    int32_t no_forget_gate GATEWRIGHT_UNSET(0);
    int32_t no_output_gate GATEWRIGHT_UNSET(0);
    gatewright_activation gate GATEWRIGHT_UNSET(GATEWRIGHT_SMOOTH);
    gatewright_activation candidate GATEWRIGHT_UNSET(GATEWRIGHT_SMOOTH);
    gatewright_activation output GATEWRIGHT_UNSET(GATEWRIGHT_SMOOTH);
    double cell_clip GATEWRIGHT_UNSET(0);                             /* at least 0; 0 for none */
    double zoneout_cell GATEWRIGHT_UNSET(0);                          /* at least 0, below 1 */
    double zoneout_hidden GATEWRIGHT_UNSET(0);                        /* the same; 0 with a projection */
    const gatewright_cell_weights* weights GATEWRIGHT_UNSET(nullptr); /* (layer_count), or null for none */
    /* Of parts of version 6. */
    gatewright_cell_kind kind GATEWRIGHT_UNSET(GATEWRIGHT_LSTM);
    int64_t heads GATEWRIGHT_UNSET(0);                   /* of an sLSTM: at least 1, and divides H; else 0 */
    int32_t exponential_forget_gate GATEWRIGHT_UNSET(0); /* of an sLSTM, not 0: log f = z_f */
} gatewright_cell;

/* A transform of a target y, before all else.  Values have to be from -1e38 to 1e38, and above 0 where noted; what
 * comes back is in these bounds too. */
typedef enum gatewright_transform {
    GATEWRIGHT_NONE = 0, /* y */
    GATEWRIGHT_LOG,      /* log(y), y above 0 */
    GATEWRIGHT_LOG1P,    /* log(1 + |y| / number) with the sign of y; number above 0 */
    GATEWRIGHT_ASINH,    /* asinh(y / number); number above 0 */
    GATEWRIGHT_BOXCOX    /* (y^number - 1) / number, y above 0; log(y) where number is 0 */
} gatewright_transform;

/* A distribution of a forecast, and the numbers that the head gives of it for each step ahead and target, in
 * order. A location is a difference from the last observed value, as a quantile is.  A mean is in units of scale
 * before softplus; then transforms and seasons are not allowed, and forecasts are whole numbers. */
typedef enum gatewright_distribution {
    GATEWRIGHT_QUANTILES = 0,     /* none: the quantiles themselves */
    GATEWRIGHT_NORMAL,            /* 2: location, log of the scale */
    GATEWRIGHT_STUDENT_T,         /* 3: the same, degrees of freedom above 2 before softplus */
    GATEWRIGHT_MIXTURE,           /* 11: location, log of the scale; 3 locations, logs of scales, logits */
    GATEWRIGHT_NEGATIVE_BINOMIAL, /* 2: mean, log of the dispersion */
    GATEWRIGHT_ZERO_INFLATED      /* 3: the same, logit of the share of further zeros */
} gatewright_distribution;

/* An input of categories: layer 0 reads a vector of it.  A row has the index of the value: a whole number, 0 for a
 * value that the model does not know or that is missing. */
typedef struct gatewright_category {
    int64_t input; /* which input: of past, statics and known, counted from 0 in this order; of features, the
                      place in a row */
    int64_t count; /* indices, 0 among them; at least 2 */
    int64_t size;  /* width of a vector; at least 1 */
    const float* vectors; /* (count, size) */
} gatewright_category;

/*
 * The columns of a forecaster.  A row that a step reads has, in this order and in the table's own units,
 *
 *     targets, past, statics, phases, known * horizon
 *
 * numbers.  A target that was not observed is NaN; nothing else may be.  Inputs known in advance are at t+1 ...
 * t+horizon, input by input.  Phases are the calendar, and the caller works them out: for each part of the time
 * that the model reads, the sine and then the cosine of 2 pi times a fraction of
 *
 *     hour_of_day  the day: time since midnight / 24 hours
 *     day_of_week  the week: time since Monday 00:00 / 7 days
 *     day_of_year  the year: time since 1 January 00:00 / length of this year (365 or 366 days)
 *
 * of the row's own time, in double, as the clock shows it that the model learned from: MODEL_TIME_ZONE in model.h
 * names its zone.  Sine and cosine of another C library than that under Python's may differ in
 * the last bit, and then so may forecasts.
 */
typedef struct gatewright_columns {
    int64_t targets, past, statics, phases, known; /* targets at least 1, the others at least 0 */
    int64_t horizon, quantiles;                    /* at least 1 */
    /* What layer 0 reads of past targets: their change, their level, and whether they were observed; not 0: yes.
     * D of layer 0 is (change + level + observed) * targets + past + statics + phases + known * horizon, and size
     * - 1 more for each number of a category in a row.  Where observed is set, the head gives differences from the
     * last observed value. */
    int32_t change, level, observed;
    const double* mean;         /* (targets + past + known + statics), in this order; finite */
    const double* scale;        /* the same, standard deviations; above 0 */
    const double* change_scale; /* (targets), standard deviations of changes from row to row; above 0 */
    /* Of parts of version 2: lengths of seasons in steps, rising, each at least 1; only where observed is set. For
     * season m and step ahead j a forecast adds, times its weight, how the target went on one season before: its
     * last observed value at row t + ((j - 1) mod m) + 1 - m less that at row t - m, in units of scale; nothing
     * before a session has read that row. */
    int64_t season_count GATEWRIGHT_UNSET(0);             /* 0 for none */
    const int64_t* seasons GATEWRIGHT_UNSET(nullptr);     /* (season_count), or null for none */
    const float* season_weight GATEWRIGHT_UNSET(nullptr); /* (season_count, horizon, targets), or null for none */
    /* Of parts of version 3: each (targets), or null for none.  Mean and scales are those of the transformed
     * targets then; forecasts are in the targets' own units, and within the bounds, which are not NaN. */
    const gatewright_transform* transform GATEWRIGHT_UNSET(nullptr);
    const double* transform_number
        GATEWRIGHT_UNSET(nullptr); /* of each transform; not null where transform is not */
    const double* minimum GATEWRIGHT_UNSET(nullptr);
    const double* maximum GATEWRIGHT_UNSET(nullptr);
    /* Of parts of version 3.  Mean and scale of a category are 0 and 1. */
    int64_t category_count GATEWRIGHT_UNSET(0);                      /* 0 for none */
    const gatewright_category* categories GATEWRIGHT_UNSET(nullptr); /* (category_count), input rising; or null */
    /* Of parts of version 4: the scale of a window, in place of mean, scale and change_scale of the targets; only
     * where observed is set.  It is how much a target, transformed, moves from row to row since a session began;
     * rows before the last `window` count less and less.  least_scale and scale_ratio are null without it. */
    int64_t window GATEWRIGHT_UNSET(0);                   /* rows of a window: the context; 0 for none */
    const double* least_scale GATEWRIGHT_UNSET(nullptr);  /* (targets), above 0: the smallest mean change */
    const double* scale_factor GATEWRIGHT_UNSET(nullptr); /* (targets), above 0: the scale over the mean change */
    const double* scale_ratio GATEWRIGHT_UNSET(nullptr); /* (targets), at least 0: an expected change over the size
                                                            of a value */
    /* Of parts of version 4. */
    gatewright_distribution distribution GATEWRIGHT_UNSET(GATEWRIGHT_QUANTILES);
    const double* levels GATEWRIGHT_UNSET(nullptr); /* (quantiles), between 0 and 1; null without a distribution */
} gatewright_columns;

/* How the weights of the gates, W_ih and W_hh, are kept in memory once a model is made.  What is not said here
 * stays float: gates, states, biases, embedding, pooling and head. */
typedef enum gatewright_kept {
    GATEWRIGHT_FLOAT32 = 0, /* as they are */
    GATEWRIGHT_BFLOAT16,    /* in half the memory, for products of bfloat16 with sums in float: inputs and hidden
                               states are rounded as operands of products, and so are the weights of a projection */
    GATEWRIGHT_INT8,        /* in a quarter, with a scale for each row, for products of integers: hidden states
                               become whole numbers of 1/127, inputs and projected hidden states of 1/127 of the
                               largest number of their row.  D and P are at most 133144 */
    GATEWRIGHT_BFLOAT16_FLOAT32, /* in half the memory, for products in float: nothing else is rounded */
    GATEWRIGHT_INT8_FLOAT32      /* in a quarter, for products in float: nothing else is rounded */
} gatewright_kept;

/* How the hidden states of the steps so far become what the head reads. */
typedef enum gatewright_pooling {
    GATEWRIGHT_LAST = 0, /* the last one */
    GATEWRIGHT_MEAN,
    GATEWRIGHT_MAX,
    GATEWRIGHT_ATTENTION /* their mean with the weights exp(pool_weight h), which add up to 1 */
} gatewright_pooling;

/* What a model is made of.  `gatewright export --to c` writes one as C source. */
typedef struct gatewright_parts {
    int64_t version; /* GATEWRIGHT_VERSION, or an older one: members that it does not have are not read */
    int64_t layer_count;
    const gatewright_layer* layers;    /* (layer_count), the one that reads the input first */
    int64_t symbols;                   /* rows of embedding; nothing without it */
    const float* embedding;            /* (symbols, D of layer 0): the model reads symbols; or null */
    const gatewright_columns* columns; /* the model reads a series; or null.  Not both */
    int64_t out;                       /* rows of head_W; nothing without it */
    const float* head_W;               /* (out, P of the last layer); or null: its hidden state is the output.  A
                                          series needs one, with out = horizon * targets * quantiles, or times the
                                          numbers of a distribution in their place */
    const float* head_b;               /* (out), or null: zeros */
    gatewright_kept kept;
    /* Of parts of version 4.  Pooling needs a head, and a model that reads features; so do the categories here,
     * whose inputs rise: a row has D - (size - 1) numbers, less the same for each other category. */
    gatewright_pooling pooling GATEWRIGHT_UNSET(GATEWRIGHT_LAST);
    const float* pool_weight GATEWRIGHT_UNSET(nullptr); /* (P of the last layer) for attention; else null */
    int64_t category_count GATEWRIGHT_UNSET(0);         /* 0 for none */
    const gatewright_category* categories GATEWRIGHT_UNSET(nullptr); /* (category_count), or null for none */
    /* Of parts of version 5; kept is GATEWRIGHT_FLOAT32 or GATEWRIGHT_BFLOAT16 with it. */
    const gatewright_cell* cell GATEWRIGHT_UNSET(nullptr); /* or null for the plain one */
    /* Of parts of version 6. */
    int32_t residual
        GATEWRIGHT_UNSET(0); /* not 0: each layer after the first adds its input to its output, P wide */
} gatewright_parts;

/* Widths of one model, in elements. */
typedef struct gatewright_shape {
    gatewright_reads reads;
    int64_t input;   /* of a step: D, or less with categories; 1 for a symbol; the columns of a row */
    int64_t output;  /* of a step: P, or out */
    int64_t hidden;  /* of a session's hidden state: P of all layers together */
    int64_t cell;    /* of its cell state: H of all layers together, or 3H of an sLSTM */
    int64_t targets; /* whose last observed value a session remembers; 0 without a series */
    int64_t symbols; /* 0 without symbols */
    int64_t recent;  /* rows whose targets a session remembers: the longest season and one; 0 without seasons */
    int64_t pooled; /* numbers that pooling keeps of a session: P, and for attention two more; 0 without pooling */
    int64_t last;   /* numbers of `last` in a session's state: pooled, or targets, or 6 * targets with a window */
} gatewright_shape;

typedef struct gatewright_model gatewright_model;
typedef struct gatewright_stream gatewright_stream;

/* The kernels that a model made now would run on, such as "avx2": a static text.  It is the best that this
 * processor runs, or the one that GATEWRIGHT_TARGET names in the environment when this, or a model, is first asked
 * for. */
const char* gatewright_target(void);

/* Makes a model: checks all parts, and copies them into an order of its own; parts may be gone afterwards.
 * *model is then the caller's, to be given to gatewright_model_destroy once. */
gatewright_status gatewright_model_create(const gatewright_parts* parts, gatewright_model** model);

/* Frees a model, or does nothing with null.  Streams of it live on, and keep what they need. */
void gatewright_model_destroy(gatewright_model* model);

gatewright_status gatewright_model_shape(const gatewright_model* model, gatewright_shape* shape);

/* Makes a stream of `sessions` (at least 1) states, numbered from 0, all at the beginning.
 * *stream is then the caller's, to be given to gatewright_stream_destroy once. */
gatewright_status gatewright_stream_create(const gatewright_model* model, int64_t sessions,
                                           gatewright_stream** stream);

/* Makes another stream with copies of all states; the caller's as above.  What was reserved is not copied. */
gatewright_status gatewright_stream_copy(gatewright_stream* stream, gatewright_stream** copy);

/* Frees a stream that is in no call, or does nothing with null. */
void gatewright_stream_destroy(gatewright_stream* stream);

/* Takes the memory that gatewright_run_* needs for up to so many sessions, steps and threads, each at least 1. */
gatewright_status gatewright_reserve(gatewright_stream* stream, int64_t B, int64_t T, int threads);

/* Puts a session back to the beginning. */
gatewright_status gatewright_reset(gatewright_stream* stream, int64_t session);

/* Gives how many steps a session's state has read since it was at the beginning.  A forecaster was trained to read
 * its context (MODEL_CONTEXT of an exported model) before it forecasts: it is less sure before that. */
gatewright_status gatewright_steps_read(gatewright_stream* stream, int64_t session, int64_t* steps);

/* Advances one session by one step.  The model has to read features, symbols or a series, as the name says.
 *   x  (input)
 *   y  (output): the hidden state, or what the head gives; for symbols a score for each that may follow; for a
 *      series (horizon, targets, quantiles) in the targets' own units */
gatewright_status gatewright_step_features(gatewright_stream* stream, int64_t session, const float* x, float* y);
gatewright_status gatewright_step_symbol(gatewright_stream* stream, int64_t session, int64_t symbol, float* y);
gatewright_status gatewright_step_series(gatewright_stream* stream, int64_t session, const double* x, double* y);

/* Advances B different sessions by T steps, each at least 1, on at most `threads` threads, at least 1.
 *   sessions  (B), their numbers
 *   x         (T, B, input)
 *   y         (T, B, output) */
gatewright_status gatewright_run_features(gatewright_stream* stream, const int64_t* sessions, int64_t B, int64_t T,
                                          const float* x, float* y, int threads);
gatewright_status gatewright_run_symbols(gatewright_stream* stream, const int64_t* sessions, int64_t B, int64_t T,
                                         const int64_t* x, float* y, int threads);
gatewright_status gatewright_run_series(gatewright_stream* stream, const int64_t* sessions, int64_t B, int64_t T,
                                        const double* x, double* y, int threads);

/* The state of a session: what a program keeps, and gives back to go on to the same bits.
 *   hidden  (hidden): h, layer by layer
 *   cell    (cell): c, layer by layer; of an sLSTM c, n, which is at least 0, and m of a layer
 *   last    (targets): the last observed value of each target, NaN before the first; or (pooled): NaN before the
 *           first step, numbers after it.  That is the sum or the maximum of the hidden states; for attention
 *           their weighted sum, the sum of the weights, and the power of two that both are to be multiplied by.
 *           With the scale of a window (6 * targets): the last observed values, and then of each target five
 *           numbers, NaN before the first: its first value, the sums of the sizes of its changes and of its
 *           values, the sum of the differences of its values from the first one, and their number.  May be null
 *           without targets and pooling
 *   steps   taken so far */
gatewright_status gatewright_get_state(gatewright_stream* stream, int64_t session, float* hidden, float* cell,
                                       double* last, int64_t* steps);
gatewright_status gatewright_set_state(gatewright_stream* stream, int64_t session, const float* hidden,
                                       const float* cell, const double* last, int64_t steps);

/* The same of any model, with seasons or without.  A model with seasons is refused by the two functions above
 * (GATEWRIGHT_NULL_POINTER), since its state has one more part:
 *   recent  (recent, targets): the targets of the last rows, the oldest first, as last observed and in units of
 *           scale, NaN before the first; may be null without seasons */
gatewright_status gatewright_get_seasonal_state(gatewright_stream* stream, int64_t session, float* hidden,
                                                float* cell, double* last, float* recent, int64_t* steps);
gatewright_status gatewright_set_seasonal_state(gatewright_stream* stream, int64_t session, const float* hidden,
                                                const float* cell, const double* last, const float* recent,
                                                int64_t steps);

#ifdef __cplusplus
}
#endif

#endif
