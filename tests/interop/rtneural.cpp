// Runs RTNeural's model of a JSON file over rows of numbers, and prints the outputs of each step.
#include <RTNeural/RTNeural.h>

#include <cstdio>
#include <fstream>
#include <vector>

int main(int count, char** paths) {
    if (count < 3) return 2;
    std::ifstream json(paths[1]), rows(paths[2]);
    auto model = RTNeural::json_parser::parseJson<float>(json, false);
    if (!model) return 1;
    model->reset();
    int T = 0, D = 0;
    rows >> T >> D;
    std::vector<float> x(D);
    for (int t = 0; t < T; ++t) {
        for (float& value : x) rows >> value;
        model->forward(x.data());
        for (int k = 0; k < model->getOutSize(); ++k) std::printf("%.9g ", model->getOutputs()[k]);
        std::puts("");
    }
}
