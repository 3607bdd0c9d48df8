// RTNeural's LSTM layer over 10,000 steps: prints microseconds a step for each size, the least of some rounds.
#include <RTNeural/RTNeural.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <random>
#include <vector>

template <int H>
void measure() {
    static RTNeural::ModelT<float, H, H, RTNeural::LSTMLayerT<float, H, H>> model;
    std::mt19937 random(0);
    std::normal_distribution<float> normal(0.0f, 0.1f);
    const auto matrix = [&](int rows, int columns) {
        std::vector<std::vector<float>> values(rows, std::vector<float>(columns));
        for (auto& row : values)
            for (float& value : row) value = normal(random);
        return values;
    };
    auto& layer = model.template get<0>();
    layer.setWVals(matrix(H, 4 * H));
    layer.setUVals(matrix(H, 4 * H));
    std::vector<float> bias(4 * H);
    for (float& value : bias) value = normal(random);
    layer.setBVals(bias);
    constexpr int kSteps = 10'000;
    alignas(64) static float x[kSteps][H];
    for (auto& step : x)
        for (float& value : step) value = 10 * normal(random);
    double least = 1e9;
    float sum = 0;
    for (int round = 0; round < 30; ++round) {
        model.reset();
        const auto begin = std::chrono::steady_clock::now();
        for (const auto& step : x) sum += model.forward(step);
        const std::chrono::duration<double, std::micro> passed = std::chrono::steady_clock::now() - begin;
        least = std::min(least, passed.count() / kSteps);
    }
    std::printf("%d %.4f\n", H, least);
    if (sum == 12345) std::puts("");  // so that none of it is left out
}

int main() {
    measure<16>();
    measure<32>();
    measure<64>();
}
