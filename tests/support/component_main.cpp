#include "event/sources.hpp"

#include <gtest/gtest.h>

int main(int argc, char** argv) {
  hal::event::block_signals();
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
