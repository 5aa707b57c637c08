#include "image/catalog.hpp"

#include "base/names.hpp"

#include <memory>
#include <optional>
#include <utility>

namespace hal::image {

namespace {

constexpr std::string_view prefix = "hal9000/";

std::string label_of(const worker::ImageInfo& image, const char* label) {
  const auto found = image.labels.find(label);
  return found != image.labels.end() ? found->second : "";
}

}  // namespace

std::string own_name(std::string_view reference, std::string_view version) {
  if (!reference.starts_with(prefix)) {
    return {};
  }
  reference.remove_prefix(prefix.size());
  const auto colon = reference.find(':');
  const auto tag = colon == std::string_view::npos ? "latest" : reference.substr(colon + 1);
  return tag == "latest" || tag == version ? std::string(reference.substr(0, colon)) : std::string();
}

Image describe(std::string reference, const Result<worker::ImageInfo>& found, std::string wanted) {
  Image image{std::move(reference), "missing", "", 0, "", std::move(wanted)};
  if (!found) {
    return image;
  }
  image.id = found->id;
  image.size_bytes = found->size_bytes;
  if (label_of(*found, names::label_image).empty()) {
    image.state = "foreign";
    return image;
  }
  image.generation = label_of(*found, names::label_generation);
  image.state = image.wanted.empty() || image.generation == image.wanted ? "current" : "stale";
  return image;
}

void look_up(worker::Runtime& runtime, const std::set<std::string>& references, const Generations& wanted,
             const std::string& version, Done<std::vector<Image>> done) {
  /** Answers when the last of the engine's answers is here. */
  struct Gathering {
    std::map<std::string, Image> images;
    std::optional<Error> error;
    std::size_t left = 0;
    Done<std::vector<Image>> done;
  };
  const auto gathering = std::make_shared<Gathering>();
  gathering->left = references.size() + 1;
  gathering->done = std::move(done);
  const auto finish_one = [gathering] {
    if (--gathering->left > 0) {
      return;
    }
    if (gathering->error) {
      return gathering->done(*gathering->error);
    }
    std::vector<Image> images;
    for (auto& [reference, image] : gathering->images) {
      images.push_back(std::move(image));
    }
    gathering->done(std::move(images));
  };
  for (const auto& reference : references) {
    const auto known = wanted.find(own_name(reference, version));
    runtime.inspect_image(
        reference, [gathering, finish_one, reference,
                    generation = known != wanted.end() ? known->second : ""](const Result<worker::ImageInfo>& found) {
          if (!found && found.error().code != Errc::not_found) {
            gathering->error = found.error();
          } else {
            gathering->images.emplace(reference, describe(reference, found, generation));
          }
          finish_one();
        });
  }
  finish_one();
}

}  // namespace hal::image
