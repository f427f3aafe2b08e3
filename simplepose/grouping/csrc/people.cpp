// People: the groups that pass the thresholds, with their scores.

#include <algorithm>
#include <cmath>

#include "grouping.h"

namespace simplepose {
namespace {

double limb_score(const Limb& limb, const std::vector<Connection>& connections, const Members& members) {
    for (const Connection& connection : connections)
        if (connection.from == members[limb.from] && connection.to == members[limb.to]) return connection.score;
    return 0;
}

// The area of the cells from the first to the last peak of a person: a single peak has the area of one cell.
double box_area(const Person& person, const Peaks& peaks) {
    const Box box = bounding_box(peaks, person.peaks);
    return (box.right - box.left + 1) * (box.bottom - box.top + 1);
}

void sort_best_first(std::vector<Person>& people) {
    std::stable_sort(people.begin(), people.end(), [](const Person& a, const Person& b) { return a.score > b.score; });
}

}  // namespace

void weight_by_area(const Peaks& peaks, MapSize map_size, const Settings& settings, std::vector<Person>& people) {
    if (settings.score_area_exponent == 0) return;
    const double map_area = static_cast<double>(map_size.height) * map_size.width;
    for (Person& person : people)
        person.score *= std::pow(std::min(box_area(person, peaks) / map_area, 1.0), settings.score_area_exponent);
    sort_best_first(people);
}

std::vector<Person> assemble_people(const Peaks& peaks, const std::vector<Limb>& limbs,
                                    const Connections& connections, const Settings& settings) {
    std::vector<Members> groups = merge_groups(peaks, limbs, connections);
    attach_unassigned(peaks, settings, groups);

    std::vector<Person> people;
    for (const Members& members : groups) {
        int joints = 0;
        double sum = 0;
        for (size_t joint = 0; joint < members.size(); ++joint) {
            if (members[joint] < 0) continue;
            ++joints;
            sum += peaks[joint][members[joint]].score;
        }
        if (joints < settings.min_person_keypoints) continue;
        for (size_t k = 0; k < limbs.size(); ++k) sum += limb_score(limbs[k], connections[k], members);
        if (sum < settings.min_person_score * joints) continue;
        people.push_back({members, sum / static_cast<double>(peaks.size() + limbs.size())});
    }
    sort_best_first(people);
    return people;
}

}  // namespace simplepose
