// What grouping takes from the heap: as much for a large picture as for a small one, but for the scratch buffer.

#include <cstdio>
#include <cstdlib>
#include <new>
#include <vector>

#include "grouping.h"

namespace {
size_t taken = 0;
}

void* operator new(size_t size) {
    taken += size;
    if (void* memory = std::malloc(size)) return memory;
    throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

using namespace simplepose;

namespace {

// Two joints and the limb between them; what lies in the first 40 x 60 cells is the same in every picture.
struct Picture {
    int height, width;
    std::vector<float> from, to, limb;

    Picture(int rows, int columns) : height(rows), width(columns) {
        for (auto* cells : {&from, &to, &limb}) cells->resize(static_cast<size_t>(rows) * columns);
    }

    float& at(std::vector<float>& cells, int x, int y) { return cells[static_cast<size_t>(y) * width + x]; }

    Map map(const std::vector<float>& cells) const { return {cells.data(), height, width}; }
};

// Five people, and noise: peaks and connections beyond what is kept. Its lengths are below half of any height used.
Picture crowd(int rows, int columns) {
    Picture picture(rows, columns);
    unsigned state = 1;
    for (int y = 0; y < 40; ++y)
        for (int x = 0; x < 60; ++x)
            for (auto* cells : {&picture.from, &picture.to, &picture.limb}) {
                state = state * 1664525U + 1013904223U;
                picture.at(*cells, x, y) = 0.3F + static_cast<float>(state >> 8) / 33554432.0F;
            }
    for (int person = 0; person < 5; ++person) {
        picture.at(picture.from, 5 + 10 * person, 5) = 1;
        picture.at(picture.to, 5 + 10 * person, 15) = 1;
    }
    return picture;
}

// Joints as large as the whole map, and everything between zero and them equal.
Picture flat(int rows, int columns) {
    Picture picture(rows, columns);
    for (auto* cells : {&picture.from, &picture.to, &picture.limb}) cells->assign(cells->size(), 0.75F);
    return picture;
}

size_t taken_by(const Picture& picture, Scratch& scratch) {
    const std::vector<Map> limb_maps{picture.map(picture.limb)};
    const std::vector<Map> keypoint_maps{picture.map(picture.from), picture.map(picture.to)};
    const size_t before = taken;
    group(limb_maps, keypoint_maps, {{0, 1}}, {}, scratch);
    return taken - before;
}

void expect(bool condition, const char* what) {
    if (condition) return;
    std::fprintf(stderr, "%s\n", what);
    std::exit(1);
}

}  // namespace

int main() {
    Scratch scratch;
    const size_t small = taken_by(crowd(160, 64), scratch), large = taken_by(crowd(1280, 2000), scratch);
    expect(small > 0, "nothing was counted");
    expect(small == large, "the same people take more room in a larger picture");

    const size_t first = taken_by(flat(1280, 2000), scratch);
    expect(first > 1280 * 2000, "a plateau needs room");
    const size_t again = taken_by(flat(1280, 2000), scratch), tiny = taken_by(flat(8, 8), scratch);
    expect(again == tiny, "a scratch buffer that is kept is not enough");
}
