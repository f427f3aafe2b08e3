// Heap use of the grouping: independent of the map size, except for the scratch buffer.

#include <cstdio>
#include <cstdlib>
#include <new>
#include <vector>

#include "grouping.h"

namespace {
size_t allocated = 0;
}

void* operator new(size_t size) {
    allocated += size;
    if (void* memory = std::malloc(size)) return memory;
    throw std::bad_alloc();
}
void* operator new(size_t size, const std::nothrow_t&) noexcept {
    allocated += size;
    return std::malloc(size);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

using namespace simplepose;

namespace {

// Maps of two joints and their limb; the content of the first 40 x 60 cells is the same for all sizes.
struct TestMaps {
    int height, width;
    std::vector<float> from, to, limb;

    TestMaps(int rows, int columns) : height(rows), width(columns) {
        for (auto* cells : {&from, &to, &limb}) cells->resize(static_cast<size_t>(rows) * columns);
    }

    float& at(std::vector<float>& cells, int x, int y) { return cells[static_cast<size_t>(y) * width + x]; }

    Map map(const std::vector<float>& cells) const { return {cells.data(), height, width}; }
};

// Five people and noise: more peaks and connections than the limits. Lengths are below half the height of all maps.
TestMaps crowd(int rows, int columns) {
    TestMaps maps(rows, columns);
    unsigned state = 1;
    for (int y = 0; y < 40; ++y)
        for (int x = 0; x < 60; ++x)
            for (auto* cells : {&maps.from, &maps.to, &maps.limb}) {
                state = state * 1664525U + 1013904223U;
                maps.at(*cells, x, y) = 0.3F + static_cast<float>(state >> 8) / 33554432.0F;
            }
    for (int person = 0; person < 5; ++person) {
        maps.at(maps.from, 5 + 10 * person, 5) = 1;
        maps.at(maps.to, 5 + 10 * person, 15) = 1;
    }
    return maps;
}

// Plateaus as large as the whole map.
TestMaps flat(int rows, int columns) {
    TestMaps maps(rows, columns);
    for (auto* cells : {&maps.from, &maps.to, &maps.limb}) cells->assign(cells->size(), 0.75F);
    return maps;
}

size_t count_allocated(const TestMaps& maps, Scratch& scratch) {
    const std::vector<Map> limb_maps{maps.map(maps.limb)};
    const std::vector<Map> keypoint_maps{maps.map(maps.from), maps.map(maps.to)};
    const size_t before = allocated;
    group(limb_maps, keypoint_maps, {{0, 1}}, {}, scratch);
    return allocated - before;
}

void expect(bool condition, const char* what) {
    if (condition) return;
    std::fprintf(stderr, "expected: %s\n", what);
    std::exit(1);
}

}  // namespace

int main() {
    Scratch scratch;
    const size_t small = count_allocated(crowd(160, 64), scratch), large = count_allocated(crowd(1280, 2000), scratch);
    expect(small > 0, "allocations are counted");
    expect(small == large, "equal memory for the same people in larger maps");

    const size_t first = count_allocated(flat(1280, 2000), scratch);
    expect(first > 1280 * 2000, "memory for a plateau");
    const size_t reused = count_allocated(flat(1280, 2000), scratch), tiny = count_allocated(flat(8, 8), scratch);
    expect(reused == tiny, "no new memory with a used scratch buffer");
    std::printf("only the scratch buffer grows\n");
}
