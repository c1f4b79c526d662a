// Up to 16 rows of x.
#include "sm90/few_rows.cuh"

namespace exllama::sm90 {

namespace {

template <int SETS>
void add_instances(std::vector<few_rows_instance>& all) {
  all.push_back(instance<1, 2, SETS>());
  all.push_back(instance<2, 2, SETS>());
  all.push_back(instance<4, 2, SETS>());
  all.push_back(instance<8, 2, SETS>());
  all.push_back(instance<8, 4, SETS>());
  all.push_back(instance<16, 2, SETS>());
  all.push_back(instance<16, 4, SETS>());
}

}  // namespace

const std::vector<few_rows_instance>& few_rows_instances() {
  static const std::vector<few_rows_instance> all = [] {
    std::vector<few_rows_instance> made;
    add_instances<1>(made);
    add_instances<4>(made);
    return made;
  }();
  return all;
}

}  // namespace exllama::sm90
