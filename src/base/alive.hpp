#pragma once

#include <memory>
#include <utility>

namespace hal {

/**
 * A member of an object that starts asynchronous calls: what wrap() returns does nothing once the object is gone.
 * Declare it last, so that it ends first.
 */
class Alive {
 public:
  template <class Function>
  [[nodiscard]] auto wrap(Function function) const {
    return [token = std::weak_ptr<const char>(token_), function = std::move(function)](auto&&... args) {
      if (!token.expired()) {
        function(std::forward<decltype(args)>(args)...);
      }
    };
  }

 private:
  std::shared_ptr<const char> token_ = std::make_shared<const char>('\0');
};

}  // namespace hal
