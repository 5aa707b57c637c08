#include "init/call_table.hpp"

#include <iterator>

namespace hal::init {

std::vector<CallRule> native_rules() {
  return {std::begin(call_table), std::end(call_table)};
}

}  // namespace hal::init
