#if defined(__x86_64__)

#define HAL_TABLE_OF_I386
#include "init/call_table.hpp"

#include <iterator>

namespace hal::init {

std::vector<CallRule> i386_rules() {
  return {std::begin(call_table), std::end(call_table)};
}

}  // namespace hal::init

#endif
