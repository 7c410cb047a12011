// Copies under way, by thread: cp.async. A copy is begun, its group is ended, and it is carried out when the thread
// waits for the group: the last moment that the device allows. So what is read too early is old.
#pragma once

#include <cstdint>
#include <vector>

namespace ptx {

struct Copy {
    uint64_t to, from;  // offset in shared memory, address in global memory
    uint32_t bytes;
    int line;
};

class Copies {
  public:
    void begin(const Copy& copy) { open_.push_back(copy); }
    void end_group() {
        groups_.push_back(std::move(open_));
        open_.clear();
    }
    // The copies of all ended groups but the last `pending`.
    std::vector<Copy> arrived(size_t pending) {
        std::vector<Copy> all;
        size_t n = groups_.size() > pending ? groups_.size() - pending : 0;
        for (size_t i = 0; i < n; ++i) all.insert(all.end(), groups_[i].begin(), groups_[i].end());
        groups_.erase(groups_.begin(), groups_.begin() + static_cast<std::ptrdiff_t>(n));
        return all;
    }

  private:
    std::vector<Copy> open_;
    std::vector<std::vector<Copy>> groups_;
};

}  // namespace ptx
