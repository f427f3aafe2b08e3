// Groups the maps of a file and prints the people. README.md in this folder shows how to build and run it.

#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <stdexcept>
#include <vector>

#include "grouping.h"

namespace {

constexpr std::int32_t MAX_CHANNELS = 10'000, MAX_CELLS = 1 << 24;  // a file with more is not a file of maps

// Contents of the file, all little-endian, which must be the byte order of the machine:
// int32 limbs, joints, height, width; int32 from, to of each limb; then the maps, limbs first, float32.
struct Header {
    std::int32_t limbs, joints, height, width;
};

template <typename Value>
void read(std::istream& file, Value* values, size_t count) {
    file.read(reinterpret_cast<char*>(values), static_cast<std::streamsize>(count * sizeof(Value)));
    if (!file) throw std::runtime_error("the file ends before its last map; write it again");
}

std::vector<simplepose::Pose> group_file(const char* path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error("no such file");
    Header header{};
    read(file, &header, 1);
    const auto [limb_count, joint_count, height, width] = header;
    if (limb_count < 0 || limb_count > MAX_CHANNELS || joint_count < 1 || joint_count > MAX_CHANNELS ||
        height < 1 || width < 1 || height > MAX_CELLS / width)
        throw std::runtime_error("not a file of maps: expected the numbers of limbs, joints, rows and columns first");

    std::vector<simplepose::Limb> limbs(limb_count);
    for (simplepose::Limb& limb : limbs) {
        std::int32_t ends[2];
        read(file, ends, 2);
        limb = {ends[0], ends[1]};
    }
    std::vector<std::vector<float>> cells;  // of each map; a Map only points to its cells
    std::vector<simplepose::Map> limb_maps, keypoint_maps;
    for (int k = 0; k < limb_count + joint_count; ++k) {
        cells.emplace_back(static_cast<size_t>(height) * width);
        read(file, cells.back().data(), cells.back().size());
        (k < limb_count ? limb_maps : keypoint_maps).push_back({cells.back().data(), height, width});
    }
    return simplepose::group(limb_maps, keypoint_maps, limbs);
}

}  // namespace

int main(int count, char** arguments) try {
    if (count != 2) throw std::runtime_error("expected the path of a file of maps");
    for (const simplepose::Pose& pose : group_file(arguments[1])) {
        std::printf("person %.6f\n", pose.score);
        for (const simplepose::Keypoint& keypoint : pose.keypoints)
            std::printf("%10.4f %10.4f %8.6f\n", keypoint.x, keypoint.y, keypoint.score);
    }
} catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", count == 2 ? arguments[1] : "group_maps", error.what());
    return 2;
}
