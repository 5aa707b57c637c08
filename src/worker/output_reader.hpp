#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "event/sources.hpp"

#include <string>

namespace hal::worker {

/** Reads a program's output to its end, as text for D-Bus: at most `max_bytes`, bad UTF-8 replaced. */
class OutputReader {
 public:
  OutputReader(event::Loop& loop, UniqueFd fd, std::size_t max_bytes, Done<std::string> done);

 private:
  void read();
  void finish(Result<std::string> result);

  UniqueFd fd_;
  std::size_t max_bytes_;
  Done<std::string> done_;
  std::string text_;
  event::Timer deadline_;
  event::Io source_;
};

}  // namespace hal::worker
