#pragma once

#include "base/strong_id.hpp"
#include "base/unique_fd.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

/**
 * What one process leaves to the next of the same host: values one after the other, without names, for a reader that
 * knows their order. One function says both ways what belongs to an object:
 *
 *     template <class Archive>
 *     void keep(Archive& archive) { archive(name_, open_, deadline_); }
 *
 * It takes numbers, enumerations, texts, points of steady time (which all processes of a host share), descriptors,
 * standard containers of what it takes, and whatever has such a keep(). What is derived is made again
 * `if constexpr (Archive::loading)`.
 */
namespace hal {

class Saver;
class Loader;

namespace detail {

template <class T, class Archive>
concept Kept = requires(T& value, Archive& archive) {
  value.keep(archive);
};

template <class T>
concept Container = requires(T& value) {
  value.begin();
  value.end();
  value.size();
  typename T::value_type;
};

template <class T>
concept Map = Container<T> && requires {
  typename T::mapped_type;
};

template <class T>
concept Set = Container<T> && requires {
  typename T::key_type;
} && !Map<T>;

template <class Archive, class T>
void transfer(Archive& archive, T& value);

}  // namespace detail

class Saver {
 public:
  static constexpr bool loading = false;

  template <class... Values>
  void operator()(Values&... values) {
    (detail::transfer(*this, values), ...);
  }

  void number(std::uint64_t value);
  void text(std::string_view value);
  /** Only its number: it stays its owner's. Invalid ones are kept as such. */
  void descriptor(const UniqueFd& value);
  /** One that was made for this. */
  void own(UniqueFd value);

  [[nodiscard]] const std::string& bytes() const { return bytes_; }
  [[nodiscard]] const std::vector<int>& descriptors() const { return descriptors_; }

 private:
  std::string bytes_;
  std::vector<int> descriptors_;
  std::vector<UniqueFd> own_;
};

/** Reads what a Saver wrote. After the first thing that cannot be, all that is read is zero and empty. */
class Loader {
 public:
  static constexpr bool loading = true;

  /** `bytes` outlive it. */
  Loader(std::string_view bytes, std::vector<UniqueFd> descriptors)
      : bytes_(bytes), descriptors_(std::move(descriptors)) {}

  template <class... Values>
  void operator()(Values&... values) {
    (detail::transfer(*this, values), ...);
  }

  [[nodiscard]] std::uint64_t number();
  [[nodiscard]] std::string text();
  /** Each can be taken once. */
  [[nodiscard]] UniqueFd descriptor();
  /** How many of something follow, each of which takes at least a number's place. */
  [[nodiscard]] std::size_t count();

  void fail() { failed_ = true; }
  [[nodiscard]] bool failed() const { return failed_; }
  /** All was read, and all was right. */
  [[nodiscard]] bool complete() const { return !failed_ && bytes_.empty(); }

 private:
  std::string_view bytes_;
  std::vector<UniqueFd> descriptors_;
  bool failed_ = false;
};

namespace detail {

/** Further from now than anything can be; sums and differences of such times do not overflow. */
inline constexpr std::int64_t longest_time = std::int64_t{1} << 61;

template <class Archive, class T>
void transfer_number(Archive& archive, T& value) {
  if constexpr (!Archive::loading) {
    archive.number(static_cast<std::uint64_t>(value));
  } else {
    const auto number = archive.number();
    value = static_cast<T>(number);
    if (static_cast<std::uint64_t>(value) != number) {
      archive.fail();
      value = T{};
    }
  }
}

template <class Archive, class T>
void transfer_all(Archive& archive, T& values) {
  if constexpr (!Archive::loading) {
    archive.number(values.size());
    for (auto& value : values) {
      archive(value);
    }
  } else {
    values.clear();
    for (auto count = archive.count(); count > 0 && !archive.failed(); --count) {
      if constexpr (Map<T>) {
        typename T::key_type key{};
        typename T::mapped_type mapped{};
        archive(key, mapped);
        values.emplace(std::move(key), std::move(mapped));
      } else if constexpr (Set<T>) {
        typename T::value_type value{};
        archive(value);
        values.insert(std::move(value));
      } else {
        archive(values.emplace_back());
      }
    }
  }
}

template <class Archive, class T>
void transfer_optional(Archive& archive, T& value) {
  bool there = static_cast<bool>(value);
  archive(there);
  if constexpr (Archive::loading) {
    if constexpr (std::is_same_v<T, std::optional<typename std::remove_reference_t<decltype(*value)>>>) {
      there ? (void)value.emplace() : value.reset();
    } else {
      value = there ? std::make_unique<typename T::element_type>() : nullptr;
    }
  }
  if (there) {
    archive(*value);
  }
}

template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;
template <class T>
inline constexpr bool is_optional<std::unique_ptr<T>> = true;

template <class T>
inline constexpr bool is_duration = false;
template <class Count, class Period>
inline constexpr bool is_duration<std::chrono::duration<Count, Period>> = true;

template <class Archive, class T>
void transfer(Archive& archive, T& value) {
  using Value = std::remove_const_t<T>;
  if constexpr (Kept<T, Archive>) {
    value.keep(archive);
  } else if constexpr (std::is_same_v<Value, bool> || std::is_integral_v<Value> || std::is_enum_v<Value>) {
    transfer_number(archive, value);
  } else if constexpr (std::is_same_v<Value, std::string>) {
    if constexpr (Archive::loading) {
      value = archive.text();
    } else {
      archive.text(value);
    }
  } else if constexpr (std::is_same_v<Value, UniqueFd>) {
    if constexpr (Archive::loading) {
      value = archive.descriptor();
    } else {
      archive.descriptor(value);
    }
  } else if constexpr (is_duration<Value>) {
    auto count = static_cast<std::int64_t>(value.count());
    archive(count);
    if constexpr (Archive::loading) {
      if (count > longest_time || count < -longest_time) {
        archive.fail();
        count = 0;
      }
      value = Value(count);
    }
  } else if constexpr (std::is_same_v<Value, std::chrono::steady_clock::time_point>) {
    auto since = value.time_since_epoch();
    archive(since);
    if constexpr (Archive::loading) {
      value = Value(since);
    }
  } else if constexpr (is_optional<Value>) {
    transfer_optional(archive, value);
  } else if constexpr (requires { std::tuple_size<Value>::value; }) {
    std::apply([&archive](auto&... parts) { archive(parts...); }, value);
  } else if constexpr (Container<Value>) {
    transfer_all(archive, value);
  } else {
    archive(value.value);  // a StrongId
  }
}

}  // namespace detail

}  // namespace hal
