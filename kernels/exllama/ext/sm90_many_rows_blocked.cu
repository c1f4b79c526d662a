// Groups that are no whole units: scales for each BLOCK_ROWS rows.
#include "sm90/many_rows.cuh"

namespace exllama::sm90 {

void add_blocked(std::vector<many_rows_instance>& all) {
  all.push_back(many_rows<32, 2, 4, split::even, 1>());
  all.push_back(many_rows<32, 2, 4, split::memory, 4>());
  all.push_back(many_rows<64, 2, 4, split::even, 1>());
  all.push_back(many_rows<64, 2, 4, split::cluster, 2>());
  all.push_back(many_rows<128, 2, 4, split::even, 1>());
  all.push_back(many_rows<256, 2, 4, split::even, 1>());
}

}  // namespace exllama::sm90
