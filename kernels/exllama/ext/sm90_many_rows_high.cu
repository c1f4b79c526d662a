// 128 rows of x at once, and more.
#include "sm90/many_rows.cuh"

namespace exllama::sm90 {

void add_high_rows(std::vector<many_rows_instance>& all) {
  all.push_back(many_rows<128, 2, 1, split::even, 1>());
  all.push_back(many_rows<128, 2, 1, split::cluster, 2>());
  all.push_back(many_rows<128, 2, 1, split::memory, 4>());
  all.push_back(many_rows<192, 2, 1, split::even, 1>());
  all.push_back(many_rows<192, 2, 1, split::cluster, 2>());
  all.push_back(many_rows<192, 2, 1, split::memory, 4>());
  all.push_back(many_rows<256, 2, 1, split::even, 1>());
  all.push_back(many_rows<256, 2, 1, split::cluster, 2>());
  all.push_back(many_rows<256, 2, 1, split::memory, 4>());
}

}  // namespace exllama::sm90
