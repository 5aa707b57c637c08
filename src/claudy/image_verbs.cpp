#include "claudy/client.hpp"
#include "claudy/job.hpp"
#include "claudy/output.hpp"
#include "claudy/reply.hpp"
#include "claudy/table.hpp"
#include "claudy/text_values.hpp"
#include "claudy/verbs.hpp"

#include <fcntl.h>

#include <nlohmann/json.hpp>

/** Verbs about the images of workers and parent. */
namespace hal::claudy {

namespace {

using nlohmann::json;

Result<json> read_images(Bus& bus) {
  const auto reply = bus.call(manager_method("ListImages"));
  if (!reply) {
    return reply.error();
  }
  json images = json::array();
  for (const auto& row : reply->body().at(0)) {
    images.push_back({{"image", row.at(0)},
                      {"state", row.at(1)},
                      {"size", row.at(2)},
                      {"generation", row.at(3)},
                      {"wanted", row.at(4)},
                      {"id", row.at(5)}});
  }
  return images;
}

std::string image_table(const json& images) {
  Table table({"IMAGE", "STATE", "SIZE", "GENERATION", "WANTED"});
  for (const auto& image : images) {
    const auto size = number_of(image, "size");
    table.add({text_of(image, "image"), text_of(image, "state"), size == 0 ? "" : format_size(size),
               text_of(image, "generation"), text_of(image, "wanted")});
  }
  return table.text();
}

Result<int> run_image_job(Bus& bus, const Method& method, const std::vector<Argument>& arguments) {
  const auto done = run_job(bus, method, arguments);
  return done ? show_listing(bus, {}, {read_images, image_table}) : Result<int>(done.error());
}

}  // namespace

Result<int> list_images(const Global& global, const ListOptions& options) {
  const auto bus = Bus::open(global.user);
  return bus ? show_listing(**bus, options, {read_images, image_table}) : Result<int>(bus.error());
}

Result<int> build_images(const Global& global, const ImageBuildOptions& options) {
  const auto bus = Bus::open(global.user);
  if (!bus) {
    return bus.error();
  }
  Options given;
  if (options.refresh) {
    given.emplace_back("refresh", true);
  }
  return run_image_job(**bus, manager_method("BuildImages"), {Value(options.names), given});
}

Result<int> load_images(const Global& global, const std::string& archive) {
  const auto bus = Bus::open(global.user);
  if (!bus) {
    return bus.error();
  }
  const UniqueFd file(::open(archive.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) {
    return errno_error(archive);
  }
  return run_image_job(**bus, manager_method("LoadImages"), {Value(Fd{file.get()})});
}

}  // namespace hal::claudy
