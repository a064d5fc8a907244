# libkiln, its install rules, find_package(kiln) and pkg-config.
add_library(kiln SHARED $<TARGET_OBJECTS:kiln_objects>)
set_target_properties(kiln PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})
target_include_directories(kiln PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                                       $<INSTALL_INTERFACE:include>)
target_link_libraries(kiln PRIVATE kiln_dependencies)
# libstdc++ is linked statically so that the library can live in any process; libgcc_s stays shared,
# since exceptions cross the boundary.
target_link_options(kiln PRIVATE -static-libstdc++ -Wl,--exclude-libs,ALL -Wl,--gc-sections)
add_library(kiln::kiln ALIAS kiln)
