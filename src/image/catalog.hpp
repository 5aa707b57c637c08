#pragma once

#include "base/result.hpp"
#include "image/build_output.hpp"
#include "worker/runtime.hpp"

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace hal::image {

/** One image that the configuration names or that can be built. */
struct Image {
  /** As the configuration has it, else "hal9000/NAME". */
  std::string reference;
  /** "current", "stale" (of another generation), "missing", "foreign" (none of ours). */
  std::string state;
  /** Empty where it is missing. */
  std::string id;
  std::uint64_t size_bytes = 0;
  std::string generation;
  /** What build.sh would make; empty: nothing that it knows. */
  std::string wanted;
};

/** The NAME of "hal9000/NAME", "hal9000/NAME:latest" or with this version as the tag; else empty. */
[[nodiscard]] std::string own_name(std::string_view reference, std::string_view version);

/** What is there of it, by the engine's answer: Errc::not_found is one. */
[[nodiscard]] Image describe(std::string reference, const Result<worker::ImageInfo>& found, std::string wanted);

/** Asks the engine for each of these references; fails where it does not answer. In the order of the references. */
void look_up(worker::Runtime& runtime, const std::set<std::string>& references, const Generations& wanted,
             const std::string& version, Done<std::vector<Image>> done);

}  // namespace hal::image
