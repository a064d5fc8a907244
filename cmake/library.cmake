# libkiln, its install rules, find_package(kiln) and pkg-config.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

add_library(kiln SHARED $<TARGET_OBJECTS:kiln_objects>)
add_library(kiln::kiln ALIAS kiln)
set_target_properties(kiln PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})
target_include_directories(kiln PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                                       $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_compile_features(kiln PUBLIC cxx_std_20)
target_link_libraries(kiln PRIVATE $<BUILD_INTERFACE:kiln_dependencies>)
# libstdc++ is linked statically so that the library can live in any process; libgcc_s stays shared,
# since exceptions cross the boundary.
target_link_options(kiln PRIVATE -static-libstdc++ -Wl,--exclude-libs,ALL -Wl,--gc-sections
                                 -Wl,--no-undefined
                                 -Wl,--version-script=${PROJECT_SOURCE_DIR}/cmake/kiln.map)
set_target_properties(kiln PROPERTIES LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/kiln.map)

install(TARGETS kiln EXPORT kiln LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/kiln DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.hpp")
install(EXPORT kiln NAMESPACE kiln:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/kiln
        FILE kiln-targets.cmake)
configure_package_config_file(cmake/kiln-config.cmake.in ${PROJECT_BINARY_DIR}/kiln-config.cmake
                              INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/kiln)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/kiln-config-version.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/kiln-config.cmake ${PROJECT_BINARY_DIR}/kiln-config-version.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/kiln)
configure_file(cmake/kiln.pc.in ${PROJECT_BINARY_DIR}/kiln.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/kiln.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES LICENSE README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
