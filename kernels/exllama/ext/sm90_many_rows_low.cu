// Up to 96 rows of x at once.
#include "sm90/many_rows.cuh"

namespace exllama::sm90 {

void add_low_rows(std::vector<many_rows_instance>& all) {
  all.push_back(many_rows<32, 2, 1, split::even, 1>());
  all.push_back(many_rows<32, 2, 1, split::cluster, 2>());
  all.push_back(many_rows<32, 2, 1, split::memory, 4>());
  all.push_back(many_rows<32, 4, 1, split::even, 1>());
  all.push_back(many_rows<64, 2, 1, split::even, 1>());
  all.push_back(many_rows<64, 2, 1, split::cluster, 2>());
  all.push_back(many_rows<64, 2, 1, split::memory, 4>());
  all.push_back(many_rows<64, 4, 1, split::even, 1>());
  all.push_back(many_rows<96, 2, 1, split::even, 1>());
  all.push_back(many_rows<96, 2, 1, split::cluster, 2>());
  all.push_back(many_rows<96, 2, 1, split::memory, 4>());
}

}  // namespace exllama::sm90
