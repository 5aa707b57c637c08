#include "base/archive.hpp"

#include <cstring>
#include <utility>

namespace hal {

void Saver::number(std::uint64_t value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  bytes_.append(bytes, sizeof bytes);
}

void Saver::text(std::string_view value) {
  number(value.size());
  bytes_ += value;
}

void Saver::descriptor(const UniqueFd& value) {
  if (!value) {
    return number(0);
  }
  descriptors_.push_back(value.get());
  number(descriptors_.size());
}

void Saver::own(UniqueFd value) {
  descriptor(value);
  own_.push_back(std::move(value));
}

std::uint64_t Loader::number() {
  std::uint64_t value = 0;
  if (failed_ || bytes_.size() < sizeof value) {
    fail();
    return 0;
  }
  std::memcpy(&value, bytes_.data(), sizeof value);
  bytes_.remove_prefix(sizeof value);
  return value;
}

std::string Loader::text() {
  const auto size = number();
  if (size > bytes_.size()) {
    fail();
    return {};
  }
  std::string value(bytes_.substr(0, size));
  bytes_.remove_prefix(size);
  return value;
}

UniqueFd Loader::descriptor() {
  const auto place = number();
  if (place == 0) {
    return {};
  }
  if (place > descriptors_.size() || !descriptors_[place - 1]) {
    fail();
    return {};
  }
  return std::move(descriptors_[place - 1]);
}

std::size_t Loader::count() {
  const auto count = number();
  if (count > bytes_.size() / sizeof count) {
    fail();
    return 0;
  }
  return count;
}

}  // namespace hal
