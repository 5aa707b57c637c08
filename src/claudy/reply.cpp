#include "claudy/reply.hpp"

#include <fcntl.h>
#include <systemd/sd-bus.h>

#include <cstdint>
#include <memory>
#include <utility>

#include <nlohmann/json.hpp>

namespace hal::claudy {

namespace {

using nlohmann::json;

/** Reads one message; the first failure of sd-bus ends it. */
class Reader {
 public:
  Reader(sd_bus_message* message, Reply& reply) : message_(message), reply_(reply) {}

  /** Everything up to the end of the container that is open now. */
  bool elements(json& array) {
    array = json::array();
    while (sd_bus_message_at_end(message_, 0) == 0) {
      json element;
      if (!one(element)) {
        return false;
      }
      array.push_back(std::move(element));
    }
    return true;
  }

 private:
  bool one(json& value) {
    char type = 0;
    const char* contents = nullptr;
    if (sd_bus_message_peek_type(message_, &type, &contents) <= 0) {
      return false;
    }
    switch (type) {
      case SD_BUS_TYPE_ARRAY:
      case SD_BUS_TYPE_VARIANT:
      case SD_BUS_TYPE_STRUCT:
        return container(type, contents, value);
      default:
        return basic(type, value);
    }
  }

  bool container(char type, const char* contents, json& value) {
    if (sd_bus_message_enter_container(message_, type, contents) < 0) {
      return false;
    }
    bool read = false;
    if (type == SD_BUS_TYPE_VARIANT) {
      read = one(value);
    } else if (type == SD_BUS_TYPE_ARRAY && contents[0] == SD_BUS_TYPE_DICT_ENTRY_BEGIN) {
      read = dictionary(value);
    } else {
      read = elements(value);
    }
    return read && sd_bus_message_exit_container(message_) >= 0;
  }

  bool dictionary(json& object) {
    object = json::object();
    while (sd_bus_message_at_end(message_, 0) == 0) {
      char type = 0;
      const char* contents = nullptr;
      json key;
      json value;
      if (sd_bus_message_peek_type(message_, &type, &contents) <= 0 ||
          sd_bus_message_enter_container(message_, type, contents) < 0 || !one(key) || !one(value) ||
          sd_bus_message_exit_container(message_) < 0) {
        return false;
      }
      object[key.is_string() ? key.get<std::string>() : key.dump()] = std::move(value);
    }
    return true;
  }

  template <class Type>
  bool number(char type, json& value) {
    Type read{};
    if (sd_bus_message_read_basic(message_, type, &read) < 0) {
      return false;
    }
    value = read;
    return true;
  }

  bool basic(char type, json& value) {
    switch (type) {
      case SD_BUS_TYPE_BYTE:
        return number<std::uint8_t>(type, value);
      case SD_BUS_TYPE_INT16:
        return number<std::int16_t>(type, value);
      case SD_BUS_TYPE_UINT16:
        return number<std::uint16_t>(type, value);
      case SD_BUS_TYPE_INT32:
        return number<std::int32_t>(type, value);
      case SD_BUS_TYPE_UINT32:
        return number<std::uint32_t>(type, value);
      case SD_BUS_TYPE_INT64:
        return number<std::int64_t>(type, value);
      case SD_BUS_TYPE_UINT64:
        return number<std::uint64_t>(type, value);
      case SD_BUS_TYPE_DOUBLE:
        return number<double>(type, value);
      case SD_BUS_TYPE_STRING:
      case SD_BUS_TYPE_OBJECT_PATH:
      case SD_BUS_TYPE_SIGNATURE:
        return number<const char*>(type, value);
      case SD_BUS_TYPE_BOOLEAN: {
        int read = 0;
        const bool done = sd_bus_message_read_basic(message_, type, &read) >= 0;
        value = read != 0;
        return done;
      }
      case SD_BUS_TYPE_UNIX_FD:
        return descriptor(value);
      default:
        return false;
    }
  }

  bool descriptor(json& value) {
    int fd = -1;  // stays the message's
    if (sd_bus_message_read_basic(message_, SD_BUS_TYPE_UNIX_FD, &fd) < 0) {
      return false;
    }
    UniqueFd own(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
    if (!own) {
      return false;
    }
    value = reply_.fds.size();
    reply_.fds.push_back(std::move(own));
    return true;
  }

  sd_bus_message* message_;
  Reply& reply_;
};

}  // namespace

Result<Reply> read_message(sd_bus_message* message) {
  Reply reply{std::make_shared<json>(), {}};
  if (sd_bus_message_rewind(message, 1) < 0 || !Reader(message, reply).elements(*reply.values)) {
    return Error{Errc::protocol, "the daemon's answer cannot be read"};
  }
  return reply;
}

}  // namespace hal::claudy
